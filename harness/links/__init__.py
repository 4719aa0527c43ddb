"""Links: what lies between the clients and the server, made, measured and taken away again.

Nouns: a *link* (:class:`Link`) is loopback, lan, wan (both emulated) or remote.  It is chosen (:func:`choose`),
opened, asked, closed::

    link = choose("auto")            # lan where this machine can, else loopback; link.why says so
    with link.open():
        server = make("granian", ServerConfig(..., address=link.server_address,
                                              argv_prefix=link.server_argv_prefix))
        client = [*link.client_argv_prefix, sys.executable, ...]
        before = link.counters()
        ...
        used = link.counters() - before

Reading order: ``interface`` (pure), ``loopback``, ``lan``, ``wan`` (one emulated link, one file), ``remote``,
``choice``; below them ``namespaces`` (make, sweep, enter), ``wire`` (veth, routes, token bucket), ``delays`` (what
delays packets: ``netem``, the kernel's, or ``tun`` devices and the process of ``emulation``), ``tcp``, ``idle``,
``counters``; ``enter`` is the small program that runs a command in a namespace, ``emulator`` the one that delays.
I/O is what this package is for, except in ``interface``.

Everything here is synchronous and quick (a lan opens in well under a second): call it before trio starts, or
in a thread.
"""

from harness.links.choice import KINDS, choose
from harness.links.interface import Counters, EmulatorCounters, Link, LinkError, LinkUnavailableError, LinkUsageError

__all__ = [
    "KINDS",
    "Counters",
    "EmulatorCounters",
    "Link",
    "LinkError",
    "LinkUnavailableError",
    "LinkUsageError",
    "choose",
]

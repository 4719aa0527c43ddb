"""Which link, and why."""

from __future__ import annotations

from harness.links import lan
from harness.links.delays import Choice
from harness.links.interface import Link, LinkUnavailableError, LinkUsageError
from harness.links.lan import Lan
from harness.links.loopback import Loopback
from harness.links.provisioned import Provisioned
from harness.links.remote import Remote
from harness.links.wan import RTT_MS, Wan

KINDS = ("auto", "loopback", "lan", "wan", "remote")

_ASKED = "It was asked for."


def choose(
    kind: str = "auto",
    *,
    url: str | None = None,
    ssh: str | None = None,
    port: int = 0,
    rate_mbit_s: float = 1000.0,
    rtt_ms: float = RTT_MS,
    emulator: Choice = "auto",
) -> Link:
    """Make (not open) the link of that kind; its ``why`` is the sentence for the user.

    ``auto`` is remote with a URL or a host for ssh (``port``: of the server there), else lan where one can really be
    made (it tries), else loopback with ``fell_back`` set.  Raises LinkUnavailableError for a lan that cannot be (a wan
    says so when it is opened), LinkUsageError for an unknown kind, a bad URL, rate or RTT, a URL with another link, or
    a remote without one.
    """
    if kind not in KINDS:
        raise LinkUsageError(f"There is no link {kind!r}; known are {', '.join(KINDS)}.")
    if url is not None or ssh is not None:
        if kind not in {"auto", "remote"}:
            raise LinkUsageError(f"A URL goes with the link remote, not with {kind}.")
        if url is not None:
            return Remote(url, why="A URL was given.")
        return Provisioned(str(ssh), why="A host was given, where ssh puts the server.", port=port)
    if kind == "remote":
        raise LinkUsageError("The link remote needs a URL (--url https://host:port/path) or a host (--ssh user@host).")
    if kind == "loopback":
        return Loopback(why=_ASKED)
    if kind == "lan":
        lan.check()
        return Lan(why=_ASKED, rate_mbit_s=rate_mbit_s)
    if kind == "wan":
        return Wan(why=_ASKED, rate_mbit_s=rate_mbit_s, rtt_ms=rtt_ms, emulator=emulator)
    return _automatic(rate_mbit_s)


def _automatic(rate_mbit_s: float) -> Link:
    try:
        lan.check()
    except LinkUnavailableError as error:
        return Loopback(why=f"A lan cannot be made: {error}", fell_back=True)
    return Lan(why="Network namespaces can be made here, so the lan is emulated.", rate_mbit_s=rate_mbit_s)

"""Web servers to measure against: one interface, one file per server, the test CA, the content.

Nouns, in reading order:

- ``interface``: :class:`WebServer`, :class:`ServerConfig`, :class:`Offer`, the errors.  Pure.
- ``certificates``: :class:`Authority` (the test CA) and :class:`Credentials` (files that a server is given).
- ``content``: :class:`Content`, a body of any size, the same on every machine, with its SHA-256.
- ``granian`` (with ``granian_child``, the program itself), ``nginx``, ``lighttpd``, ``apache``, ``caddy``: the
  servers; ``installed``: what those of the system's packages have in common.
- ``registry``: which of them this machine has (:func:`available`), and :func:`make`.
- ``process``: how a server is started, watched and ended; ``guard`` and ``probe`` are the two small programs
  it runs.

I/O is allowed in ``process``, ``guard``, ``probe``, ``certificates`` and ``content`` (files).  Imports
nothing of ours, and can be used alone::

    authority = Authority.create()
    credentials = authority.issue(directory, key_type="ecdsa-p256")
    content = Content.write(directory / "www", 1_000_000)
    config = ServerConfig(directory / "www", credentials.chain, credentials.key, directory / "run")
    async with make("granian", config) as server:
        print(server.url(content.name))
"""

from webservers.certificates import SERVER_NAME, Authority, Credentials, KeyType
from webservers.content import MB, Content
from webservers.interface import (
    Availability,
    NotAvailableError,
    Offer,
    PortInUseError,
    ServerConfig,
    ServerDiedError,
    ServerStartError,
    TlsVersion,
    WebServer,
    WebServerError,
)
from webservers.registry import available, make

__all__ = [
    "MB",
    "SERVER_NAME",
    "Authority",
    "Availability",
    "Content",
    "Credentials",
    "KeyType",
    "NotAvailableError",
    "Offer",
    "PortInUseError",
    "ServerConfig",
    "ServerDiedError",
    "ServerStartError",
    "TlsVersion",
    "WebServer",
    "WebServerError",
    "available",
    "make",
]

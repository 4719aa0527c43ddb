"""Which servers there are, and which of them this machine has."""

from __future__ import annotations

from webservers.apache import ApacheServer
from webservers.caddy import CaddyServer
from webservers.granian import GranianServer
from webservers.interface import Availability, NotAvailableError, ServerConfig, WebServer
from webservers.lighttpd import LighttpdServer
from webservers.nginx import NginxServer
from webservers.process import ProcessServer

SERVERS: dict[str, type[ProcessServer]] = {
    server.kind: server for server in (GranianServer, NginxServer, LighttpdServer, ApacheServer, CaddyServer)
}


def available() -> list[Availability]:
    """Say of each known server whether it can be used here; if not, why, and what would make it work."""
    return [server.availability() for server in SERVERS.values()]


def make(kind: str, config: ServerConfig) -> WebServer:
    """Make (not start) a server.  NotAvailableError when there is none of that name, or not here."""
    if kind not in SERVERS:
        raise NotAvailableError(f"There is no server {kind!r}; known are {', '.join(SERVERS)}.")
    found = SERVERS[kind].availability()
    if not found.usable:
        raise NotAvailableError(found.reason)
    return SERVERS[kind](config)

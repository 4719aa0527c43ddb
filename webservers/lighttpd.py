"""lighttpd, when it is installed, with its OpenSSL module: one event loop a worker."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from webservers.installed import bracketed, executable, missing, simple, versioned
from webservers.interface import Availability, ServerConfig
from webservers.process import ProcessServer

_MODULES = (Path("/usr/lib/lighttpd"), Path("/usr/lib64/lighttpd"), Path("/usr/local/lib"))
_FORBIDDEN = '"\\$'

_TEMPLATE = """\
server.modules = ({modules})
server.compat-module-load = "disable"
server.feature-flags = ("server.h2proto" => "disable")
server.document-root = "{root}"
server.bind = "{address}"
server.port = {port}
server.max-worker = {workers}
server.max-connections = 2048
server.max-fds = 4096
server.listen-backlog = 4096
"""
_SECURE = """\
ssl.engine = "enable"
ssl.pemfile = "{chain}"
ssl.privkey = "{key}"
ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "{low}", "MaxProtocol" => "{high}")
"""


class LighttpdServer(ProcessServer):
    """The system's lighttpd with the system's OpenSSL."""

    kind: ClassVar[str] = "lighttpd"

    @classmethod
    def availability(cls) -> Availability:
        path = executable("lighttpd")
        if path is None:
            return missing(cls.kind, "lighttpd", "lighttpd lighttpd-mod-openssl")
        if not any((directory / "mod_openssl.so").exists() for directory in _MODULES):
            return missing(cls.kind, "lighttpd's TLS module mod_openssl", "lighttpd-mod-openssl")
        return versioned(cls.kind, path, (path, "-v"), r"lighttpd/(\d[\w.]*)", "lighttpd")

    def _command(self, port: int) -> list[str]:
        file = self.config.run_directory / "lighttpd.conf"
        file.write_text(configuration(self.config, port), encoding="utf-8")
        return [self.availability().executable, "-D", "-f", str(file.resolve())]


def configuration(config: ServerConfig, port: int) -> str:
    """The whole lighttpd.conf.  WebServerError for a path that lighttpd cannot be told."""
    text = _TEMPLATE.format(
        modules='"mod_staticfile", "mod_openssl"' if config.secure else '"mod_staticfile"',
        root=simple("lighttpd", config.document_root, _FORBIDDEN),
        address=bracketed(config.address),
        port=port,
        workers=config.workers,
    )
    if not config.secure:
        return text
    return text + _SECURE.format(
        chain=simple("lighttpd", config.certificate_chain, _FORBIDDEN),
        key=simple("lighttpd", config.private_key, _FORBIDDEN),
        low=config.tls_min,
        high=config.tls_max,
    )

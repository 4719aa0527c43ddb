"""nginx, when it is installed: what most people know.  Own prefix and configuration, no daemon."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import ClassVar

from webservers.installed import bracketed, executable, missing, said
from webservers.interface import TLS_VERSIONS, Availability, ServerConfig, WebServerError
from webservers.process import ProcessServer

OLDEST = (1, 19, 5)  # the first with -e: older ones want to write into /var/log/nginx

_TEMPLATE = """\
daemon off;
{user}worker_processes {workers};
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {listen}{ssl} backlog=4096;
        server_name {name};
        root {root};
{secure}    }}
}}
"""
_SECURE = """\
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols {protocols};
"""


class NginxServer(ProcessServer):
    """The system's nginx with its own OpenSSL (not the one that the clients use)."""

    kind: ClassVar[str] = "nginx"

    @classmethod
    def availability(cls) -> Availability:
        path = executable("nginx")
        if path is None:
            return missing(cls.kind, "nginx", "nginx")
        try:
            number, text = read_version(said(path, "-V"))
        except WebServerError as error:
            return Availability(cls.kind, usable=False, executable=path, reason=str(error))
        if number < OLDEST:
            reason = f"{text} at {path} is too old; 1.19.5 or newer is needed."
            return Availability(cls.kind, usable=False, executable=path, reason=reason)
        return Availability(cls.kind, usable=True, version=text, executable=path)

    def _command(self, port: int) -> list[str]:
        file = self.config.run_directory / "nginx.conf"
        file.write_text(configuration(self.config, port, as_root=os.geteuid() == 0), encoding="utf-8")
        return command(self.availability().executable, self.config.run_directory, file.resolve())


def command(executable: str, run_directory: Path, file: Path) -> list[str]:
    """nginx's argv for a configuration file."""
    return [executable, "-p", str(run_directory), "-c", str(file), "-e", "stderr"]


def configuration(config: ServerConfig, port: int, *, as_root: bool) -> str:
    """The whole nginx.conf.  WebServerError for a path that nginx cannot be told.

    As root the workers stay root: the content may lie where nobody else may look.
    """
    low, high = TLS_VERSIONS.index(config.tls_min), TLS_VERSIONS.index(config.tls_max)
    secure = _SECURE.format(
        chain=quoted(config.certificate_chain),
        key=quoted(config.private_key),
        protocols=" ".join(TLS_VERSIONS[low : high + 1]),
    )
    return _TEMPLATE.format(
        user="user root;\n" if as_root else "",
        workers=config.workers,
        listen=f"{bracketed(config.address)}:{port}",
        ssl=" ssl" if config.secure else "",
        name=config.server_name,
        root=quoted(config.document_root),
        secure=secure if config.secure else "",
    )


def quoted(path: Path) -> str:
    """A path as one token of nginx.conf.  WebServerError where nginx would read something else into it."""
    text = str(path.resolve())
    if "$" in text or not text.isprintable():
        raise WebServerError(f"nginx cannot be told the path {text!r}: it must have no '$' and no control character.")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read_version(text: str) -> tuple[tuple[int, ...], str]:
    """((1, 22, 1), "nginx 1.22.1, OpenSSL 3.0.19") from the output of ``nginx -V``.

    WebServerError when it is not that, or was built without TLS.
    """
    number = re.search(r"nginx version: \S+?/(\d+(?:\.\d+)+)", text, re.ASCII)
    library = re.search(r"running with (\w+ [\w.]+)", text) or re.search(r"built with (\w+ [\w.]+)", text)
    if number is None or "http_ssl_module" not in text:
        raise WebServerError("nginx is not one that can serve HTTPS (`nginx -V` does not name http_ssl_module).")
    name = f"nginx {number[1]}" + (f", {library[1]}" if library else "")
    return tuple(int(part) for part in number[1].split(".")), name

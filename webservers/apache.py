"""Apache httpd, when it is installed: the event MPM, processes of many threads.

Apache refuses to serve as root.  Started by root, its workers are the user ``nobody``, who keeps the capabilities of
root (capabilities(7), SECBIT_NO_SETUID_FIXUP, by setpriv(1)): the content may lie where nobody else may look.
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import ClassVar

from webservers.installed import bracketed, executable, missing, simple, versioned
from webservers.interface import TLS_VERSIONS, Availability, ServerConfig, WebServerError
from webservers.process import ProcessServer

_MODULES = (Path("/usr/lib/apache2/modules"), Path("/usr/lib64/httpd/modules"), Path("/usr/local/apache2/modules"))
_NAMES = ("mpm_event", "authz_core", "ssl")
_USER = "nobody"
_THREADS = 256  # of each worker: as many connections are served at once
_FORBIDDEN = '"\\$%'

_TEMPLATE = """\
ServerRoot "{run}"
DefaultRuntimeDir "{run}"
PidFile "{run}/apache.pid"
ErrorLog /dev/stderr
LogLevel warn
{modules}
{user}ServerName {name}
Listen {listen}
ListenBacklog 4096
Protocols http/1.1
StartServers {workers}
ServerLimit {workers}
ThreadLimit {threads}
ThreadsPerChild {threads}
MaxRequestWorkers {all_threads}
MinSpareThreads 1
MaxSpareThreads {all_threads}
DocumentRoot "{root}"
<Directory "{root}">
    AllowOverride None
    Require all granted
</Directory>
"""
_SECURE = """\
SSLEngine on
SSLSessionCache none
SSLProtocol -all {protocols}
SSLCertificateFile "{chain}"
SSLCertificateKeyFile "{key}"
"""


class ApacheServer(ProcessServer):
    """The system's Apache httpd with the system's OpenSSL."""

    kind: ClassVar[str] = "apache"

    @classmethod
    def availability(cls) -> Availability:
        path = executable("apache2", "httpd")
        if path is None:
            return missing(cls.kind, "Apache httpd", "apache2-bin")
        if _modules() is None:
            return missing(cls.kind, "Apache's event MPM or mod_ssl", "apache2-bin")
        if os.geteuid() == 0 and (reason := _why_not_as_root()):
            return Availability(cls.kind, usable=False, executable=path, reason=reason)
        return versioned(cls.kind, path, (path, "-v"), r"Apache/(\d[\w.]*)", "apache")

    def _command(self, port: int) -> list[str]:
        (self.config.run_directory / "apache.pid").unlink(missing_ok=True)  # of one that was killed: it would refuse
        file = self.config.run_directory / "apache.conf"
        file.write_text(configuration(self.config, port, as_root=os.geteuid() == 0), encoding="utf-8")
        apache = [self.availability().executable, "-f", str(file.resolve()), "-DFOREGROUND"]
        keeping = ["setpriv", "--securebits", "+no_setuid_fixup", "--"] if os.geteuid() == 0 else []
        return [*keeping, *apache]


def _modules() -> Path | None:
    """Where Apache's modules are; None when one that is needed is nowhere."""
    return next((path for path in _MODULES if all((path / f"mod_{name}.so").exists() for name in _NAMES)), None)


def _why_not_as_root() -> str:
    """Why root cannot start it; empty when root can."""
    if shutil.which("setpriv") is None:
        return "Apache does not serve as root, and setpriv (the system's package `util-linux`) is not installed."
    try:
        uid = pwd.getpwnam(_USER).pw_uid
    except KeyError:
        return f"Apache does not serve as root, and there is no user {_USER} here."
    lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    known = any(int(first) <= uid < int(first) + int(count) for first, _, count in map(str.split, lines))
    return "" if known else f"Apache does not serve as root, and this user namespace has no user {_USER}."


def configuration(config: ServerConfig, port: int, *, as_root: bool) -> str:
    """The whole configuration.  WebServerError for a path that Apache cannot be told."""
    modules = _modules()
    if modules is None:
        raise WebServerError("Apache's modules have gone since it was looked for.")
    text = _TEMPLATE.format(
        run=simple("apache", config.run_directory, _FORBIDDEN),
        root=simple("apache", config.document_root, _FORBIDDEN),
        modules="\n".join(f'LoadModule {name}_module "{modules}/mod_{name}.so"' for name in _NAMES),
        user=f"User {_USER}\nGroup #{pwd.getpwnam(_USER).pw_gid}\n" if as_root else "",
        name=config.server_name,
        listen=f"{bracketed(config.address)}:{port}",
        workers=config.workers,
        threads=_THREADS,
        all_threads=_THREADS * config.workers,
    )
    if not config.secure:
        return text
    low, high = TLS_VERSIONS.index(config.tls_min), TLS_VERSIONS.index(config.tls_max)
    return text + _SECURE.format(
        chain=simple("apache", config.certificate_chain, _FORBIDDEN),
        key=simple("apache", config.private_key, _FORBIDDEN),
        protocols=" ".join(f"+{version}" for version in TLS_VERSIONS[low : high + 1]),
    )

"""Which files a worker reads after it has started: modules and libraries, names of hosts, the system's trust store."""

from __future__ import annotations

import os
import ssl
import sysconfig
from pathlib import Path

_LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/share", "/lib", "/lib64", "/nix/store")
_NAMES = (
    "resolv.conf",
    "hosts",
    "nsswitch.conf",
    "host.conf",
    "gai.conf",
    "services",
    "protocols",
    "localtime",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
)
_RESOLVERS = ("/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf", "/run/nscd", "/var/run/nscd")
_TRUST = (
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/etc/crypto-policies/back-ends",
    "/var/lib/ca-certificates",
)


def code() -> tuple[Path, ...]:
    """Return where Python, its modules and the system's libraries are; never the whole of a home directory."""
    installed = sysconfig.get_paths()
    modules = [Path(installed[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    here = Path(__file__).resolve().parents[1]
    return (*map(Path, _LIBRARIES), *modules, here)


def names() -> tuple[Path, ...]:
    """Return what getaddrinfo(3) reads.

    An ordinary user may read all of /etc: what matters there is closed to it anyway, and a file that is replaced is
    found again.  For root each file is named, and a worker does not see it any more once another has taken its place.
    """
    if os.geteuid() != 0:
        return (Path("/etc"), *map(Path, _RESOLVERS))
    return (*(Path("/etc") / name for name in _NAMES), *map(Path, _RESOLVERS))


def trust_store() -> tuple[Path, ...]:
    """Return where systems keep their anchors, and where SSL_CERT_FILE and SSL_CERT_DIR (openssl-env(7)) say."""
    defaults = ssl.get_default_verify_paths()
    said = [os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")]
    known = [*_TRUST, defaults.openssl_cafile, defaults.openssl_capath, *said]
    return tuple(Path(place) for place in known if place)

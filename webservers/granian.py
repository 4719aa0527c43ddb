"""granian: the embedded default, a wheel from PyPI (hyper and rustls inside), so everybody can have it.

What it answers with, and why, is in ``granian_child``.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import ClassVar

from webservers.interface import Availability, ServerConfig, WebServerError
from webservers.process import ProcessServer

CHILD = Path(__file__).with_name("granian_child.py")


class GranianServer(ProcessServer):
    """granian in a subprocess of its own, HTTP/1.1 only, no access log."""

    kind: ClassVar[str] = "granian"

    @classmethod
    def availability(cls) -> Availability:
        try:
            found = importlib.metadata.version("granian")
        except importlib.metadata.PackageNotFoundError:
            reason = "granian is not installed; `pip install granian` (the bench extra has it) makes it available."
            return Availability(cls.kind, usable=False, reason=reason)
        return Availability(cls.kind, usable=True, version=f"granian {found}, rustls", executable=sys.executable)

    def _command(self, port: int) -> list[str]:
        return command(sys.executable, CHILD, self.config, port)


def command(python: str, child: Path, config: ServerConfig, port: int) -> list[str]:
    """The child's argv for a Python that has granian.  WebServerError for what granian cannot do."""
    if config.tls_max != "TLSv1.3":
        raise WebServerError(f"granian cannot be kept to {config.tls_max}: it always offers TLSv1.3; use nginx.")
    settings = {
        "address": config.address,
        "port": port,
        "workers": config.workers,
        "secure": config.secure,
        "certificate_chain": str(config.certificate_chain),
        "private_key": str(config.private_key),
        "document_root": str(config.document_root),
        "tls_min": config.tls_min,
    }
    # -P: the directory of the child is not searched, else its neighbour granian.py would be found
    return [python, "-P", str(child), json.dumps(settings)]

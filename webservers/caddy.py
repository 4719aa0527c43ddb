"""Caddy, when it is installed: HTTP and TLS of Go's library, as many threads at once as it has workers."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from webservers.installed import bracketed, executable, missing, simple, versioned
from webservers.interface import Availability, ServerConfig
from webservers.process import ProcessServer

_FORBIDDEN = "{}"  # Caddy's placeholders
_TAG = "ours"


class CaddyServer(ProcessServer):
    """The system's Caddy: no administration, no automatic certificates, HTTP/1.1 only."""

    kind: ClassVar[str] = "caddy"

    @classmethod
    def availability(cls) -> Availability:
        path = executable("caddy")
        if path is None:
            return missing(cls.kind, "Caddy", "caddy")
        return versioned(cls.kind, path, (path, "version"), r"v?(\d[\w.]*)", "caddy")

    def _command(self, port: int) -> list[str]:
        file = self.config.run_directory / "caddy.json"
        file.write_text(json.dumps(configuration(self.config, port), indent=2), encoding="utf-8")
        threads = f"GOMAXPROCS={self.config.workers}"
        return ["env", threads, self.availability().executable, "run", "--config", str(file.resolve())]


def configuration(config: ServerConfig, port: int) -> dict[str, Any]:
    """The whole configuration.  WebServerError for a path that Caddy cannot be told."""
    files = {"handler": "file_server", "root": simple("caddy", config.document_root, _FORBIDDEN)}
    server: dict[str, Any] = {
        "listen": [f"{bracketed(config.address)}:{port}"],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "routes": [{"handle": [files]}],
    }
    apps: dict[str, Any] = {"http": {"servers": {"ours": server}}}
    if config.secure:
        low, high = (version.lower().replace("v", "") for version in (config.tls_min, config.tls_max))
        server["tls_connection_policies"] = [
            {"protocol_min": low, "protocol_max": high, "certificate_selection": {"any_tag": [_TAG]}}
        ]
        chain, key = (simple("caddy", path, _FORBIDDEN) for path in (config.certificate_chain, config.private_key))
        apps["tls"] = {"certificates": {"load_files": [{"certificate": chain, "key": key, "tags": [_TAG]}]}}
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "storage": {"module": "file_system", "root": simple("caddy", config.run_directory, _FORBIDDEN)},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        "apps": apps,
    }

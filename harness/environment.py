"""environment.json: where a campaign was run, and what of that may not change while it lasts.

``capture`` looks (the only I/O, in ``machine`` and ``versions``); ``fingerprint`` picks what results depend
on; ``compare`` says, for a person, what has changed between two captures.  A campaign is not resumed after a
change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from harness import checks, machine, versions

SCHEMA_VERSION = 1

Environment = dict[str, Any]


class Describes(Protocol):
    """A link or a server."""

    def describe(self) -> dict[str, object]:
        """Plain values for environment.json."""


def capture(link: Describes, server: Describes | None, other_links: Sequence[Describes] = ()) -> Environment:
    """Look at everything now.  The links are open and the server started; None is a server that is not ours."""
    described = link.describe()
    brought = described.pop("server", {"kind": "external"})
    found: Environment = {
        "schema_version": SCHEMA_VERSION,
        "link": described,
        "server": server.describe() if server is not None else brought,
        "versions": versions.capture(),
        "machine": machine.capture(),
    }
    if other_links:
        found["links"] = {
            described["kind"]: described for described in (one.describe() for one in (link, *other_links))
        }
    plain: Environment = json.loads(json.dumps(found))  # as it will be read again: lists, no tuples
    return {"fingerprint": fingerprint(plain), **plain, "warnings": _warnings(plain)}


def _warnings(plain: Environment) -> list[dict[str, str]]:
    """What each of the links makes worth less, each thing once."""
    found = [
        warning
        for link in plain.get("links", {"": plain["link"]}).values()
        for warning in checks.find_warnings(plain | {"link": link})
    ]
    return [warning for at, warning in enumerate(found) if warning not in found[:at]]


def fingerprint(environment: Environment) -> dict[str, Any]:
    """What must be the same for all trials of a campaign, by dotted names."""
    link, server = environment["link"], environment["server"]
    version, host = environment["versions"], environment["machine"]
    return {
        "machine.id_sha256": host["id_sha256"],
        "machine.cpu.model": host["cpu"]["model"],
        "machine.cpu.usable": host["cpu"]["usable"],
        "machine.cpu.governors": host["cpu"]["governors"],
        "machine.cpu.boost": host["cpu"]["boost"],
        "machine.cpu.smt": host["cpu"]["smt"],
        "machine.kernel.release": host["kernel"]["release"],
        "machine.kernel.version": host["kernel"]["version"],
        "machine.environment": host["environment"],
        "versions.python": version["python"],
        "versions.openssl.pyopenssl": version["openssl"]["pyopenssl"],
        "versions.openssl.stdlib": version["openssl"]["stdlib"],
        **{f"versions.packages.{name}": version["packages"][name] for name in versions.MEASURED},
        "versions.git.revision": version["git"]["revision"],
        "versions.source_sha256": version["source_sha256"],
        **{f"link.{name}": link.get(name) for name in _LINK},
        **{
            f"links.{kind}.{name}": other.get(name)
            for kind, other in environment.get("links", {}).items()
            if other != link
            for name in _LINK
        },
        **{f"server.{name}": server.get(name) for name in _SERVER},
    }


_LINK = (
    "kind",
    "url",
    "ssh",
    "host",
    "rate_mbit_s",
    "rtt_ms",
    "tcp_min_tso_segs",
    "tcp_rmem",
    "offloads",
    "emulator",
    "qdisc",
    "congestion_control",
    "congestion_control_pinned",
    "mtu_bytes",
)
_SERVER = ("kind", "version", "workers", "tls_min", "tls_max", "offers")


def compare(old: Environment, new: Environment) -> list[str]:
    """One sentence (without full stop) for each thing that has changed between two captures.

    Empty when a campaign that began in ``old`` may go on in ``new``.
    """
    if old.get("schema_version") != new.get("schema_version"):
        return [_sentence("schema_version", old.get("schema_version"), new.get("schema_version"))]
    before, after = old.get("fingerprint"), new.get("fingerprint")
    if not isinstance(before, dict) or not isinstance(after, dict):
        return ["environment.json has no fingerprint, so nobody can tell what has changed"]
    names = [*before, *(name for name in after if name not in before)]
    return [_sentence(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _sentence(name: str, before: object, after: object) -> str:
    return f"{name} was {_shown(before)} and is {_shown(after)} now"


def _shown(value: object) -> str:
    return "not known" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)

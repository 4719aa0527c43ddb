"""Write what is generated from the table in ``abi``: the C header and the reference page.

``python -m ssa_impl.cli.generate`` writes both; ``--check`` changes nothing and exits 1 when one is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..abi import AF_HOSTNAME, IPPROTO_TLS, MAX_HOSTNAME_BYTES, OPTIONS, TCP_UPGRADE_TLS, Option, Phase

_ROOT = Path(__file__).resolve().parents[2]
HEADER = _ROOT / "ssa_impl" / "include" / "in_tls.h"
REFERENCE = _ROOT / "docs" / "reference.md"
_NOTE = "generated from ssa_impl/abi.py by `python -m ssa_impl.cli.generate`; do not edit"


def header() -> str:
    """Return the C header."""
    lines = [
        f"/* {_NOTE} */",
        "#ifndef SSA_IN_TLS_H",
        "#define SSA_IN_TLS_H",
        "",
        "/* Third argument of socket(), and level of the options below (715 mod 255). */",
        f"#define IPPROTO_TLS {IPPROTO_TLS}",
        "",
    ]
    lines += [
        f"#define {row.number.name:<32} {row.number:>3} /* {_calls(row)}: {row.meaning} */" for row in OPTIONS.values()
    ]
    lines += [
        "",
        "/* Option at IPPROTO_TCP: a connected TCP socket goes on as a TLS socket.  Value: the peer's name (client),",
        " * or nothing (server).  The prototypes' 33 is TCP_FASTOPEN_KEY in today's Linux. */",
        f"#define TCP_UPGRADE_TLS {TCP_UPGRADE_TLS}",
        "",
        "/* Family of connect()'s address when the daemon is to resolve the name.  The prototypes' 43 is AF_SMC in",
        " * today's Linux. */",
        f"#define AF_HOSTNAME {AF_HOSTNAME}",
        "",
        "struct sockaddr_host {",
        "    unsigned short sin_family; /* AF_HOSTNAME */",
        "    unsigned short sin_port;   /* network byte order */",
        f"    unsigned char sin_addr[{MAX_HOSTNAME_BYTES}]; /* name, NUL-terminated */",
        "};",
    ]
    return "\n".join([*lines, "", "#endif", ""])


def reference() -> str:
    """Return the reference page."""
    lines = [
        "# Reference: options of a secure socket",
        "",
        f"<!-- {_NOTE} -->",
        "",
        f"`socket(AF_INET or AF_INET6, SOCK_STREAM, IPPROTO_TLS)`, with `IPPROTO_TLS` = {IPPROTO_TLS}.",
        "The options are set and read with `setsockopt` and `getsockopt` at that level.",
        "Strings end with a NUL, and lengths count it.",
        "A get whose room is too small fails with `ERANGE` and says the length it needs: no value is ever cut.",
        "*before* is until `connect`, *after* is once connected.",
        "",
        "| number | option | set | get | value | meaning | origin |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.number:d} | `{row.number.name}` | {_when(row.set)} | {_when(row.get)} "
        f"| {row.kind.value} | {row.meaning} | {row.origin} |"
        for row in OPTIONS.values()
    ]
    lines += [
        "",
        "## Beside the options",
        "",
        f"* `setsockopt(IPPROTO_TCP, TCP_UPGRADE_TLS = {TCP_UPGRADE_TLS}, name)` on a connected TCP socket: the same",
        "  descriptor goes on as a TLS socket, as client of the peer with that name, or with an empty value as server.",
        "  Options are set before.  A blocking descriptor waits for the end of the handshake; a non-blocking one gets",
        "  `EINPROGRESS`, as from `connect`.",
        f"* `connect` to a `struct sockaddr_host` (family `AF_HOSTNAME` = {AF_HOSTNAME}, port in network byte order,",
        f"  {MAX_HOSTNAME_BYTES} bytes of name): the daemon resolves the name, over IPv4 and IPv6, and it is",
        "  TLS_REMOTE_HOSTNAME unless that was set.",
    ]
    return "\n".join([*lines, ""])


def _when(phase: Phase | None) -> str:
    names = {None: "-", Phase.BEFORE: "before", Phase.AFTER: "after", Phase.ANY: "any time"}
    return names[phase]


def _calls(row: Option) -> str:
    return ", ".join(name for name, phase in (("set", row.set), ("get", row.get)) if phase is not None)


def main(arguments: list[str]) -> int:
    """Write or check; return the exit code."""
    stale = [
        path
        for path, text in ((HEADER, header()), (REFERENCE, reference()))
        if not path.exists() or path.read_text("utf-8") != text
    ]
    if arguments == ["--check"]:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(_ROOT)} is stale: run `python -m ssa_impl.cli.generate`\n")
        return 1 if stale else 0
    HEADER.write_text(header(), "utf-8")
    REFERENCE.write_text(reference(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

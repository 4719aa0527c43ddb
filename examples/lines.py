"""Count how each program differs from its plain TCP twin, and write the table in docs/languages.md.

``python -m examples.lines`` writes it; ``--check`` changes nothing and exits 1 when it is stale.

Lines that are blank or hold a comment only do not count.  A line that was replaced counts once, on the side that has
more of them.
"""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "languages.md"
BEGIN, END = "<!-- counted by `python -m examples.lines`; do not edit -->", "<!-- end of the count -->"
BOTH, SECCOMP = ("seccomp", "preload"), ("seccomp",)


@dataclass(frozen=True)
class Language:
    """One directory of examples: its programs are ``client`` and ``server``, their twins ``*_tcp``."""

    name: str
    directory: str
    suffix: str
    boundaries: tuple[str, ...]
    """where its programs run; the tests take them from here"""
    comments: tuple[str, ...]
    """how a line begins that is nothing but a comment"""

    def source(self, program: str) -> Path:
        """Return the path of ``client``, ``server``, ``client_tcp`` or ``server_tcp``."""
        return HERE / self.directory / (program + self.suffix)

    def lines(self, program: str) -> list[str]:
        """Return the lines that count."""
        stripped = [line.strip() for line in self.source(program).read_text("utf-8").splitlines()]
        return [line for line in stripped if line and not line.startswith(self.comments)]


_HASH, _PYTHON = ("#",), ("#", '"""')
LANGUAGES = (
    Language("C, dynamic", "c", ".c", BOTH, ("/*",)),
    Language("C, static (musl)", "c", ".c", SECCOMP, ("/*",)),
    Language("Python, `socket`", "python", ".py", BOTH, _PYTHON),
    Language("Python, `select`", "python_select", ".py", BOTH, _PYTHON),
    Language("Python, asyncio `sock_*`", "python_asyncio", ".py", BOTH, _PYTHON),
    Language("Go, `net`", "go", ".go", SECCOMP, ("//",)),
    Language("PHP, `socket_*`", "php", ".php", BOTH, ("//",)),
    Language("Perl", "perl", ".pl", BOTH, _HASH),
    Language("Ruby, `Socket`", "ruby", ".rb", BOTH, _HASH),
)


def changed(plain: list[str], secure: list[str]) -> int:
    """Return how many lines a reader of the difference has to look at."""
    steps = difflib.SequenceMatcher(None, plain, secure, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for step, i1, i2, j1, j2 in steps if step != "equal")


def table() -> str:
    """Return the table, markers included."""
    rows = ["| language | program | lines | changed | runs under |", "|---|---|---:|---:|---|"]
    for language in LANGUAGES:
        for program in ("client", "server"):
            secure = language.lines(program)
            count = changed(language.lines(f"{program}_tcp"), secure)
            path = f"../examples/{language.directory}/{program}{language.suffix}"
            where = ", ".join(language.boundaries)
            rows.append(f"| {language.name} | [{program}]({path}) | {len(secure)} | {count} | {where} |")
    return "\n".join([BEGIN, "", *rows, "", END])


def page(text: str) -> str:
    """Return the page with a fresh table in the place of its old one."""
    before, _, rest = text.partition(BEGIN)
    return before + table() + rest.partition(END)[2]


def main(arguments: list[str]) -> int:
    """Write or check; return the exit code."""
    old = PAGE.read_text("utf-8")
    if page(old) == old:
        return 0
    if "--check" in arguments:
        sys.stderr.write(f"stale: {PAGE.name}; run `python -m examples.lines`\n")
        return 1
    PAGE.write_text(page(old), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

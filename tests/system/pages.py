"""A page for administrators, run as it stands: its files are written, its commands run, and they say what it shows.

A ``toml`` block whose first line is a comment with a path is that file.  In a ``console`` block, ``# ``
begins a command of root's and ``$ `` one of an ordinary user's; what follows is what it says, ``...`` for what
differs each time.  A command that ends in ``&`` runs on, and its first line is waited for.
"""

from __future__ import annotations

import doctest
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.waiting import PATIENCE_S, eventually

_ASSIGNMENT = re.compile(r"[A-Z_]+=\S+")
_SAME = doctest.OutputChecker().check_output
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Step:
    """One thing that the reader does."""

    prompt: str
    """"#" or "$", "" for a file to write"""
    what: str
    """the command, or the file's path"""
    text: str
    """what the command says, or what the file holds"""


def steps(page: str) -> Iterator[Step]:
    """Take a page apart."""
    for language, block in re.findall(r"```(console|toml)\n(.*?)```", page, re.DOTALL):
        if language == "console":
            for prompt, command, output in re.findall(r"^([#$]) (.*)\n((?:(?![#$] ).*\n)*)", block, re.MULTILINE):
                yield Step(prompt, command, output)
        elif block.startswith("# /"):
            yield Step("", block.partition("\n")[0].removeprefix("# "), block)


@dataclass
class Reader:
    """Does what a page says, somewhere else than it says."""

    instead: Mapping[str, str]
    """what stands on the page, and what it is here"""
    directory: Path
    environment: Mapping[str, Mapping[str, str]]
    """of each prompt"""
    become: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """what makes a command that of a prompt's user"""
    running: list[subprocess.Popen[str]] = field(default_factory=list)
    """commands that run on"""
    done: set[str] = field(default_factory=set)
    """commands of the pages that have been run"""
    _said_before: dict[str, str] = field(default_factory=dict)

    def follow(self, step: Step) -> None:
        """Do one step.  AssertionError when it does not say what the page shows."""
        self.done.add(step.what)
        what, text = self._here(step.what), self._here(step.text)
        if not step.prompt:
            Path(what).write_text(text, "utf-8")
        elif _ASSIGNMENT.fullmatch(what):
            self._said_before[step.prompt] = f"{self._said_before.get(step.prompt, '')}export {what}\n"
        else:
            said = self._start(step.prompt, what) if what.endswith("&") else self._run(step.prompt, what)
            assert _SAME(text, said, _FLAGS), f"{what}\nshould say\n{text}\nand says\n{said}"

    def wait_until_said(self, prompt: str, command: str, text: str) -> None:
        """Run a command, which is none of the page's, until it says this and nothing else."""
        eventually(lambda: self._run(prompt, command).strip() == text)

    def close(self) -> None:
        """End what still runs, and what that has started: ``ssa run`` passes on SIGTERM, and SIGKILL to nobody."""
        for process in self.running:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def _here(self, text: str) -> str:
        for there, here in self.instead.items():
            text = text.replace(there, here)
        return text

    def _bash(self, prompt: str, command: str) -> list[str]:
        return [*self.become.get(prompt, ()), "bash", "-c", self._said_before.get(prompt, "") + command]

    def _run(self, prompt: str, command: str) -> str:
        return subprocess.run(
            self._bash(prompt, command), env=self.environment[prompt], cwd=self.directory, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S, check=False,
        ).stdout  # fmt: skip

    def _start(self, prompt: str, command: str) -> str:
        started = subprocess.Popen(
            self._bash(prompt, f"exec {command.removesuffix('&')}"), env=self.environment[prompt], cwd=self.directory,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.running.append(started)
        assert started.stdout is not None
        return started.stdout.readline()

"""Versions of everything whose change would change a result: packages, OpenSSL builds, this very source."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import ssl
import subprocess
from pathlib import Path

MEASURED = ("cffi", "cryptography", "granian", "psutil", "pyOpenSSL", "pyroute2", "trio")
"""Packages that run while something is measured."""

OTHERS = (
    "jinja2",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "rich",
    "scipy",
    "statsmodels",
    "trustme",
    "typer",
)

_SOURCES = ("harness", "ssa_impl", "webservers")  # not analysis: it may be corrected while a campaign lasts
_ROOT = Path(__file__).resolve().parent.parent
_GIT_S = 30


def capture() -> dict[str, object]:
    """All versions, as plain JSON values; None for what is not there."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "python_build": f"{' '.join(platform.python_build())}, {platform.python_compiler()}",
        "openssl": {"pyopenssl": _pyopenssl(), "stdlib": ssl.OPENSSL_VERSION},
        "packages": {name: _version(name) for name in (*MEASURED, *OTHERS)},
        "project": _version("secure-socket-api"),
        "git": git(_ROOT),
        "source_sha256": source_sha256(_ROOT),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _pyopenssl() -> str:
    """The build that both stacks use (the wheel of cryptography brings it)."""
    from OpenSSL import SSL

    return SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii", errors="replace")


def git(root: Path) -> dict[str, object]:
    """Revision, and whether the tree differs from it (but for what was recorded, in ``results``).

    Both None when ``root`` is not the top of a checkout (``why_not`` is empty then), or when that cannot be found out:
    ``why_not`` says why.
    """
    unknown: dict[str, object] = {"revision": None, "dirty": None}
    if not (root / ".git").exists():
        return unknown | {"why_not": ""}
    try:
        if (top := _git(root, "rev-parse", "--show-toplevel")) != str(root):
            raise _NoAnswerError(f"git takes {top} for the top of the checkout")
        status = _git(root, "status", "--porcelain", "--", ".", ":(exclude)results")
        return {"revision": _git(root, "rev-parse", "HEAD"), "dirty": bool(status), "why_not": ""}
    except _NoAnswerError as why:
        return unknown | {"why_not": str(why)}


class _NoAnswerError(Exception):
    """Git is not here, or refuses; its own reason, or ours."""


def _git(root: Path, *arguments: str) -> str:
    """The answer of git, stripped."""
    argv = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        variables = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_GIT_S, check=True, env=variables)
    except subprocess.CalledProcessError as error:
        said = str(error.stderr).strip().partition("\n")[0].removeprefix("fatal: ")
        raise _NoAnswerError(said or f"git ended with {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise _NoAnswerError(f"git did not answer within {_GIT_S} s") from error
    except OSError as error:
        raise _NoAnswerError(f"git cannot be started: {error.strerror}") from error
    return done.stdout.strip()


def source_sha256(root: Path) -> str:
    """One hash over the source of the packages that run while something is measured, also without git."""
    digest = hashlib.sha256()
    for package in _SOURCES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in {".py", ".c", ".h"}:
                digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()

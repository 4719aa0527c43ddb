"""Versions of everything whose change would change a result: packages, OpenSSL builds, this very source."""

from __future__ import annotations

import hashlib
import importlib.metadata
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

    Both None when ``root`` is not the top of a checkout.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top) != root:
        return {"revision": None, "dirty": None}
    status = _git(root, "status", "--porcelain", "--", ".", ":(exclude)results")
    return {"revision": _git(root, "rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def _git(root: Path, *arguments: str) -> str | None:
    """The answer of git, stripped; None when there is no git or it refuses."""
    argv = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
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

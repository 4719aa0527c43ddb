"""Everything that a campaign runs on, from a plan: the link, a work directory, the file, the server's certificates.

Built outside trio (links are synchronous), torn down in peace; the processes themselves are the ensemble's.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.ensemble import Ensemble, File
from harness.errors import CannotError, HarnessError, UsageError
from harness.links import Link, LinkError, LinkUnavailableError, LinkUsageError, choose
from harness.links.provisioned import Provisioned
from harness.links.remote import target_of
from harness.plan import Plan
from harness.signals import closed_in_peace
from webservers import Authority, Content, KeyType, ServerConfig

_KEY_TYPES: dict[str, KeyType] = {"ecdsa": "ecdsa-p256", "rsa": "rsa-2048"}
_CLIENT_BYTES = 32_000_000  # of one client process besides the body's buffer


@dataclass(frozen=True)
class Stage:
    """A link that is open and an ensemble that can be started."""

    link: Link
    ensemble: Ensemble
    server: str  # granian, nginx, external


@contextmanager
def stage(plan: Plan, link_kind: str) -> Iterator[Stage]:
    """Open the link and lay out the files; everything is gone at the end.  HarnessError in one sentence."""
    _require_memory(plan)
    if plan.url is not None:
        _ca_file(plan)
    link = _choose(plan, link_kind)
    directory = tempfile.TemporaryDirectory(prefix="ssa-bench-", ignore_cleanup_errors=True)
    with closed_in_peace(directory) as path, closed_in_peace(_opened(link)):
        if plan.url is not None:
            yield Stage(link, _remote(plan, plan.url, link, Path(path)), "external")
        elif isinstance(link, Provisioned):
            yield _provisioned(plan, link, Path(path))
        else:
            kind = "granian" if plan.server == "auto" else plan.server
            yield Stage(link, _local(plan, kind, link, Path(path)), kind)


def _choose(plan: Plan, kind: str) -> Link:
    try:
        return choose(
            kind,
            url=plan.url,
            ssh=plan.ssh,
            port=plan.remote_port,
            rate_mbit_s=plan.rate_mbit_s,
            rtt_ms=plan.rtt_ms,
        )
    except LinkUsageError as error:
        raise UsageError(str(error)) from error
    except LinkUnavailableError as error:
        raise CannotError(str(error)) from error


@contextmanager
def _opened(link: Link) -> Iterator[Link]:
    """Turn what goes wrong while a link is made (not what happens while it is open) into our own errors."""
    context = link.open()
    try:
        context.__enter__()
    except LinkUnavailableError as error:
        raise CannotError(str(error)) from error
    except LinkError as error:
        raise HarnessError(str(error)) from error
    try:
        yield link
    finally:
        context.__exit__(None, None, None)


def _local(plan: Plan, kind: str, link: Link, directory: Path) -> Ensemble:
    file, config = _files(plan, directory)
    config = replace(
        config,
        run_directory=directory / kind,
        address=link.server_address,
        workers=plan.workers or len(os.sched_getaffinity(0)),
        argv_prefix=link.server_argv_prefix,
    )
    return Ensemble(plan, link, directory, file, (kind, config))


def _provisioned(plan: Plan, link: Provisioned, directory: Path) -> Stage:
    """The server runs on the link's host; it is told what it is by its own link."""
    file, config = _files(plan, directory)
    try:
        server = link.serve(plan.server, replace(config, workers=plan.workers))
    except LinkUnavailableError as error:
        raise CannotError(str(error)) from error
    except LinkError as error:
        raise HarnessError(str(error)) from error
    return Stage(link, Ensemble(plan, link, directory, file, None), server)


def _files(plan: Plan, directory: Path) -> tuple[File, ServerConfig]:
    """The body and the certificates, written; what clients and server are told of them."""
    key_type = _KEY_TYPES[plan.key_type]
    try:
        credentials = Authority.create(key_type).issue(directory / "certificates", key_type=key_type)
        content = Content.write(directory / "www", plan.size_bytes)
    except OSError as error:
        raise HarnessError(f"Cannot write into {directory}: {error.strerror}.") from error
    config = ServerConfig(
        document_root=directory / "www",
        certificate_chain=credentials.chain,
        private_key=credentials.key,
        run_directory=directory,
        server_name=credentials.server_name,
    )
    file = File(
        path=f"/{content.name}",
        server_name=credentials.server_name,
        port=None,
        ca_file=credentials.ca,
        size_bytes=content.size_bytes,
        sha256=content.sha256,
    )
    return file, config


def _remote(plan: Plan, url: str, link: Link, directory: Path) -> Ensemble:
    target = target_of(url)
    file = File(
        path=target.path,
        server_name=target.host,
        port=target.port,
        ca_file=_ca_file(plan),
        size_bytes=plan.size_bytes,
        sha256=None,
    )
    return Ensemble(plan, link, directory, file, None)


def _ca_file(plan: Plan) -> Path:
    """The plan's, or the system's."""
    default = ssl.get_default_verify_paths().cafile
    name = plan.ca or default
    if name is None:
        raise UsageError("This system has no file of trusted authorities; name one with --ca FILE.")
    path = Path(name).resolve()
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read the authorities' file {path}: {error.strerror}.") from error
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise UsageError(f"{path} holds no certificate in PEM; --ca takes the file of the server's authority.")
    return path


def _require_memory(plan: Plan) -> None:
    """CannotError when n processes and their bodies would not fit."""
    needed = plan.levels[-1] * (plan.size_bytes + _CLIENT_BYTES)
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), needed)
    if needed > free:
        raise CannotError(
            f"{plan.levels[-1]} processes with {plan.size_bytes} bytes each need about {needed / 1e9:.1f} GB of"
            f" memory, and {free / 1e9:.1f} GB are free; choose smaller levels or a smaller size_bytes."
        )

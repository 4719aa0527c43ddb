"""Everything that a campaign runs on, from a plan: the links, a work directory, the file, the server's certificates.

Built outside trio (links are synchronous), torn down in peace; the processes themselves are the ensembles'.  Each
part of a campaign, a profile on a link, has an ensemble of its own; those that are not at work sleep.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness import trust_store
from harness.ensemble import Ensemble, File
from harness.errors import CannotError, HarnessError, UsageError
from harness.files import read_small
from harness.links import Link, LinkError, LinkUnavailableError, LinkUsageError, choose
from harness.links.provisioned import Provisioned
from harness.links.remote import target_of
from harness.memory import available_bytes
from harness.order import Part
from harness.plan import Plan
from harness.policies import policy
from harness.records import Profile
from harness.signals import closed_in_peace
from harness.workplace import workplace
from webservers import Authority, Content, KeyType, ServerConfig

_KEY_TYPES: dict[str, KeyType] = {"ecdsa": "ecdsa-p256", "rsa": "rsa-2048"}
_CA_BYTES = 16 << 20
_CLIENT_BYTES = 32_000_000  # of one client process besides the body's buffer
_PART_BYTES = 250_000_000  # of a server, a daemon and two fleets


@dataclass(frozen=True)
class Stage:
    """One part of a campaign: a link that is open, and an ensemble for a profile that can be started."""

    link: Link
    ensemble: Ensemble
    server: str  # granian, nginx, external
    profile: Profile = Profile.SOUND

    @property
    def part(self) -> Part:
        """Where it belongs in the order."""
        return Part(self.link.kind, self.profile)


@contextmanager
def stages(plan: Plan, kinds: Sequence[str]) -> Iterator[tuple[Stage, ...]]:
    """Open the links of these kinds and lay out the files: one stage for each profile on each link.

    Everything is gone at the end.  HarnessError in one sentence.
    """
    _require_memory(plan)
    if plan.url is not None:
        _ca_file(plan)
    links = [_choose(plan, kind) for kind in kinds]
    with closed_in_peace(workplace()) as directory, ExitStack() as opened:
        for link in links:
            opened.enter_context(closed_in_peace(_opened(link)))
        yield _laid_out(plan, links, directory)


def _laid_out(plan: Plan, links: Sequence[Link], directory: Path) -> tuple[Stage, ...]:
    """The server's file and certificates, which all parts share, and each part's own directory."""
    try:
        file, config = _remote(plan, plan.url) if plan.url is not None else _local(plan, directory)
        brought = _brought(plan, links, config)
        kind = brought or ("external" if config is None else "granian" if plan.server == "auto" else plan.server)
        system = _trust_store(file.ca_file, directory) if Profile.COLD_START in plan.every_profile else file.ca_file
        found: list[Stage] = []
        for link in links:
            for profile in plan.every_profile:
                own = directory / str(len(found))
                own.mkdir()
                text = policy(profile, system)
                if text is not None:
                    (own / "policy.toml").write_text(text, encoding="utf-8")
                ensemble = Ensemble(
                    plan,
                    link,
                    own,
                    replace(file, ca_file=system) if profile is Profile.COLD_START else file,
                    (kind, _served(config, link, own / kind)) if config is not None and not brought else None,
                    profile=profile,
                    policy=own / "policy.toml" if text is not None else None,
                )
                found.append(Stage(link, ensemble, kind, profile))
    except OSError as error:
        raise HarnessError(f"Cannot write into {directory}: {error.strerror}.") from error
    return tuple(found)


def _choose(plan: Plan, kind: str) -> Link:
    try:
        return choose(
            kind,
            url=plan.url,
            ssh=plan.ssh,
            port=plan.remote_port,
            rate_mbit_s=plan.rate_mbit_s,
            rtt_ms=plan.rtt_ms,
            emulator=plan.emulator,
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


def _brought(plan: Plan, links: Sequence[Link], config: ServerConfig | None) -> str:
    """The kind of the server that the link itself has started on its host; empty when it brings none."""
    link = links[0]
    if config is None or not isinstance(link, Provisioned):
        return ""
    try:
        return link.serve(plan.server, replace(config, workers=plan.workers))
    except LinkUnavailableError as error:
        raise CannotError(str(error)) from error
    except LinkError as error:
        raise HarnessError(str(error)) from error


def _local(plan: Plan, directory: Path) -> tuple[File, ServerConfig]:
    """The body and the certificates, written; what clients and server are told of them."""
    key_type = _KEY_TYPES[plan.key_type]
    credentials = Authority.create(key_type).issue(directory / "certificates", key_type=key_type)
    content = Content.write(directory / "www", plan.size_bytes)
    config = ServerConfig(
        document_root=directory / "www",
        certificate_chain=credentials.chain,
        private_key=credentials.key,
        run_directory=directory,
        server_name=credentials.server_name,
        workers=plan.workers or len(os.sched_getaffinity(0)),
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


def _served(config: ServerConfig, link: Link, run_directory: Path) -> ServerConfig:
    """The same server at the far end of a link."""
    return replace(
        config, run_directory=run_directory, address=link.server_address, argv_prefix=link.server_argv_prefix
    )


def _remote(plan: Plan, url: str) -> tuple[File, None]:
    target = target_of(url)
    file = File(
        path=target.path,
        server_name=target.host,
        port=target.port,
        ca_file=_ca_file(plan),
        size_bytes=plan.size_bytes,
        sha256=None,
    )
    return file, None


def _trust_store(own: Path, directory: Path) -> Path:
    """What stands for the system's trust store."""
    return trust_store.write(directory / "trust-store.pem", own.read_bytes())


def _ca_file(plan: Plan) -> Path:
    """The plan's, or the system's."""
    default = ssl.get_default_verify_paths().cafile
    name = plan.ca or default
    if name is None:
        raise UsageError("This system has no file of trusted authorities; name one with --ca FILE.")
    path = Path(name).resolve()
    try:
        text = read_small(path, _CA_BYTES)
    except OSError as error:
        raise UsageError(f"Cannot read the authorities' file {path}: {error.strerror}.") from error
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise UsageError(f"{path} holds no certificate in PEM; --ca takes the file of the server's authority.")
    return path


def _require_memory(plan: Plan) -> None:
    """CannotError when n processes and their bodies would not fit."""
    free = available_bytes()
    if free is None:
        return
    each, n = plan.size_bytes + _CLIENT_BYTES, plan.levels[-1]
    others = len(plan.every_link) * len(plan.every_profile) * _PART_BYTES
    if n * each + others <= free:
        return
    fit = max(0, (free - others) // each)
    raise CannotError(
        f"{n} processes with {plan.size_bytes} bytes each, their server and daemon need about"
        f" {(n * each + others) / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: {fit or 'not even one'}"
        f" {'of them fit' if fit else 'fits'}; choose {f'levels up to {fit}, or ' if fit else ''}a smaller size_bytes."
    )

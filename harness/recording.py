"""``record``: the campaigns that the plan files' claims rest on, one after the other.

A plan file that has a ``[claim]`` is run into ``DIR/.recording/NAME/``, judged, archived and then moved to the
directory that the claim names below ``DIR``; what stood there before gives way in that moment, not earlier.  The
command may be interrupted and said again at any time: an unfinished campaign goes on, and a claim whose campaign is
complete, of this plan and of this source is not run again.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from harness import runner
from harness.archive import SUMS, archive, check_sums
from harness.campaign import read_campaign
from harness.errors import HarnessError, UsageError
from harness.files import read_small
from harness.plan import Plan, build
from harness.progress import Reporter
from harness.records import Claim
from harness.versions import capture

WORKSHOP = ".recording"
REPLACED = "replaced"
PLANS = Path(__file__).parent / "plans"


@dataclass(frozen=True)
class Due:
    """A claim, and the plan that tests it."""

    name: str
    claim: Claim
    plan: Plan

    def target(self, out: Path) -> Path:
        """Where the finished campaign belongs."""
        return out / (self.claim.data or self.name)


def claims(names: Sequence[str], changes: Mapping[str, object], plans: Path = PLANS) -> list[Due]:
    """The plan files with a claim, the quickest first; UsageError for names that are none."""
    found = [due for path in sorted(plans.glob("*.toml")) if (due := _read(path, changes)) is not None]
    found.sort(key=lambda due: (due.claim.minutes, due.name))
    known = [due.name for due in found]
    if not known:
        raise UsageError(f"No plan file in {plans} makes a claim; say with --plans where they are.")
    if wrong := [name for name in names if name not in known]:
        raise UsageError(f"No plan with a claim is called {', '.join(wrong)}; there are {', '.join(known)}.")
    return [due for due in found if not names or due.name in names]


def _read(path: Path, changes: Mapping[str, object]) -> Due | None:
    try:
        content = tomllib.loads(read_small(path).decode())
        claimed = content.pop("claim", None)
        claim = None if claimed is None else Claim.model_validate(claimed)
    except OSError as error:
        raise UsageError(f"Cannot read the plan {path}: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{path}: claim.{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The plan ({path}) is not TOML: {error}.") from error
    return None if claim is None else Due(path.stem, claim, build(content, changes, str(path)))


def is_recorded(due: Due, out: Path, source_sha256: object) -> bool:
    """Complete, sealed, of this plan, and measured with this very source."""
    target = due.target(out)
    if not (target / SUMS).is_file() or check_sums(target):
        return False
    campaign = read_campaign(target)
    same = campaign.environment.get("fingerprint", {}).get("versions.source_sha256") == source_sha256
    return same and campaign.manifest.plan_sha256 == due.plan.sha256


def record(due: Due, out: Path, said: Reporter, analyse: Callable[[Path], None]) -> Path:
    """Run or resume, judge, archive, put in place; return the campaign's directory.

    HarnessError when a pair failed in every attempt: such a campaign is no reference.
    """
    workshop = out / WORKSHOP / due.name
    path = _begun(workshop, due)
    if path is None or not (path / SUMS).is_file():
        ending = runner.run(due.plan, workshop, said) if path is None else runner.resume(path, said)
        path = ending.path
        if ending.given_up:
            raise HarnessError(f"{ending.given_up} pairs of {due.name} failed in every attempt; {path} says why.")
        analyse(path)
        archive(path)
    _put(path, due.target(out))
    shutil.rmtree(workshop)
    return due.target(out)


def _begun(workshop: Path, due: Due) -> Path | None:
    """The campaign that an earlier ``record`` was interrupted in."""
    begun = [path for path in sorted(workshop.glob("*")) if path.name != REPLACED and (path / "plan.json").is_file()]
    if not begun:
        return None
    if read_campaign(begun[-1]).plan.sha256 != due.plan.sha256:
        raise UsageError(f"{begun[-1]} was begun with another plan than {due.name} is now; remove it to begin anew.")
    return begun[-1]


def _put(made: Path, target: Path) -> None:
    """Replace what stood there; at any moment one of the two is whole."""
    old = made.with_name(REPLACED)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    made.rename(target)


def source() -> object:
    """What :func:`is_recorded` compares: the hash of everything that runs while something is measured."""
    return capture()["source_sha256"]

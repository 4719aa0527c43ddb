"""Keys that a name must have: pinned by the administrator, or kept from the first time."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, ClassVar

from ..model import Ballot, Case
from ..strategy import Parameter, Problem, Strategy, absolute_path, abstain, accept, in_thread, reject
from .certificates import canonical, is_pattern, key_digest, load, matches
from .first_use import Memory

_PREFIX = "sha256/"


def _is_pin(text: str) -> bool:
    try:
        return text.startswith(_PREFIX) and len(base64.b64decode(text.removeprefix(_PREFIX), validate=True)) == 32
    except binascii.Error:
        return False


def _pin(digest: bytes) -> str:
    return _PREFIX + base64.b64encode(digest).decode("ascii")


class Pinning(Strategy):
    """Contacts nothing; with ``first_use`` it writes the state file."""

    name: ClassVar[str] = "pinning"
    summary: ClassVar[str] = (
        "The peer's public key must be one that is pinned for its name, or the one it had the first time."
    )
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "pins": Parameter(
            dict,
            {},
            "table of names (`*.` stands for one label) with their pins: SHA-256 of the public key, base64 (RFC 7469); "
            "a pin may be of any certificate of a verified chain, else it must be the leaf's",
            valid=_is_pin,
            rule="`sha256/` and the base64 of 32 bytes",
        ),
        "first_use": Parameter(
            bool,
            False,
            "whether the leaf's key of a name without pins is kept when first accepted, and required from then on",
        ),
        "state_file": Parameter(
            str,
            "",
            "where keys of first use are kept, in a directory that the daemon can write to",
            valid=absolute_path,
            rule="an absolute path", file="write",
        ),
        "max_names": Parameter(int, 10_000, "most names in the state file; new ones are refused beyond", 1, 1_000_000),
    }  # fmt: skip

    @classmethod
    def check(cls, parameters: Mapping[str, Any]) -> list[Problem]:
        if parameters["first_use"] and not parameters["state_file"]:
            return [Problem("state_file", "first_use needs a state_file, where the keys are kept")]
        if not parameters["first_use"] and not parameters["pins"]:
            return [Problem("", "pinning needs pins or first_use: it would have nothing to say of anybody")]
        if not parameters["first_use"] and parameters["state_file"]:
            return [Problem("state_file", "state_file has no meaning without first_use")]
        strange = [name for name in parameters["pins"] if not is_pattern(name)]
        return [
            Problem("pins", f"{name!r} is no peer's name: write it as certificates do (xn--...)") for name in strange
        ]

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._pins = {name: frozenset(pins) for name, pins in parameters["pins"].items()}
        first_use = parameters["first_use"]
        self._memory = Memory(parameters["state_file"], parameters["max_names"]) if first_use else None

    async def judge(self, case: Case) -> Ballot:
        if not case.presented:
            return reject("the peer presented no certificate")
        if not case.hostname:
            return abstain("the peer has no name that a pin could be for")
        if (pinned := self._pinned(case.hostname)) is not None:
            found = pinned.intersection(_pin(key_digest(load(der))) for der in case.verified or case.presented[:1])
            return (
                accept("a pinned key is in its chain")
                if found
                else reject(f"no key pinned for {case.hostname} is in its chain")
            )
        if self._memory is None:
            return abstain(f"no key is pinned for {case.hostname}")
        kept = await in_thread(self._memory.recall, canonical(case.hostname))
        if kept is None:
            return accept("it is seen for the first time")
        return self._compare(case, kept)

    async def confirm(self, case: Case) -> Ballot | None:
        """Keep the key of a name that was seen for the first time, now that the peer is accepted."""
        if self._memory is None or not case.hostname or self._pinned(case.hostname) is not None:
            return None
        name, pin, now = canonical(case.hostname), self._leaf_pin(case), case.now.isoformat()
        kept = await in_thread(self._memory.remember, name, pin, now)
        return self._compare(case, kept)

    def _pinned(self, hostname: str) -> frozenset[str] | None:
        """Return the pins of a name, its own before those of a pattern; None when it has none."""
        for pattern, pins in sorted(self._pins.items(), key=lambda item: item[0].startswith("*.")):
            if matches(pattern, hostname):
                return pins
        return None

    @staticmethod
    def _leaf_pin(case: Case) -> str:
        return _pin(key_digest(load(case.presented[0])))

    def _compare(self, case: Case, kept: str) -> Ballot:
        if self._leaf_pin(case) == kept:
            return accept("its key is the one it had the first time")
        return reject(f"its key is not the one that {case.hostname} had the first time")

"""What the SSA's daemon is told for a profile, as its policy file; None: the system's policy, as ssad finds it.

An application can tighten the policy and never weaken it, so a daemon that verifies nothing, as the published
harness's did, needs a policy that says so.  It serves the clients of that profile alone: each part of a campaign
has a daemon of its own.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.records import Profile

_NOTHING_VERIFIED = """\
# Profile paper-2018.  Nobody's verdict is necessary, and the only vote is of a strategy that knows nobody but
# a name that cannot exist: it has
# nothing to say about anybody, which counts as accepting.
[defaults]
hostname_required = false

[defaults.validation]
voting = ["pinning"]
abstain = "accept"

[defaults.validation.pinning]
pins = { "nobody.invalid" = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="] }
"""


def policy(profile: Profile, trust_store: Path) -> str | None:
    """The text of the policy; ``trust_store`` is what stands for the system's in profile cold-start."""
    if profile is Profile.COLD_START:
        return f"# Profile cold-start.\n[defaults]\ntrust_store = [{json.dumps(str(trust_store))}]\n"
    return _NOTHING_VERIFIED if profile is Profile.PAPER_2018 else None

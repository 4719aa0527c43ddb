"""Where the strategies of a validation read and write files, for whoever confines the workers."""

from __future__ import annotations

from pathlib import PurePath

from .model import Choice, Validation
from .registry import installed


def paths(validation: Validation) -> tuple[frozenset[str], frozenset[str]]:
    """Return the directories that are read from, and those that are written to.

    Directories, since a file that is replaced (by rename) is another one to whoever confines by file.
    """
    spare = validation.for_applications
    choices = [*validation.choices(), *([spare] if spare is not None else [])]
    return _of(choices, "read"), _of(choices, "write")


def _of(choices: list[Choice], use: str) -> frozenset[str]:
    found: set[str] = set()
    for choice in choices:
        parameters = installed()[choice.strategy].parameters
        for key, value in choice.parameters:
            texts = value if isinstance(value, tuple) else (value,)
            if parameters[key].file == use:
                found.update(str(PurePath(text).parent) for text in texts if isinstance(text, str) and text)
    return frozenset(found)

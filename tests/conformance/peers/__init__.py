"""The peers, by name.  Each is a function of its :class:`~tests.conformance.stage.Stage` that plays its part to the end
and returns what it has seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.conformance.peers import as_client, as_server, in_the_daemon, upgrading, with_data

MODULES = (with_data, as_server, as_client, upgrading, in_the_daemon)


def find(name: str) -> Callable[..., dict[str, Any] | None]:
    """Return the peer of that name."""
    (found,) = [getattr(module, name) for module in MODULES if name in module.__all__]
    peer: Callable[..., dict[str, Any] | None] = found
    return peer

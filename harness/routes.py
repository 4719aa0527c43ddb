"""How the clients of a trial reach TLS: the stack and, for the SSA, its boundary.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records import Boundary, Stack


@dataclass(frozen=True)
class Route:
    """One fleet's way to TLS."""

    stack: Stack
    boundary: Boundary | None = None  # ssa and ssa-c only

    @property
    def name(self) -> str:
        """``openssl``, ``ssa``, ``ssa-c-preload``: the usual boundary is not named."""
        usual = self.boundary in {None, Boundary.SECCOMP}
        return self.stack.value if usual else f"{self.stack.value}-{self.boundary}"


def route(stack: Stack, boundary: Boundary) -> Route:
    """The route of a stack in a pair with this boundary."""
    return Route(stack, boundary if stack.is_ssa else None)


def routes(stacks: Sequence[Stack], boundaries: Sequence[Boundary]) -> tuple[Route, ...]:
    """Every route that a plan needs, each once, baseline first."""
    return tuple(dict.fromkeys(route(stack, boundary) for stack in stacks for boundary in boundaries))

"""How many lines of one kind may be logged, so that a hostile peer cannot fill the disk.  Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Hashable


class Limiter:
    """A token bucket for each kind: ``burst`` at once, ``per_second`` in the long run."""

    def __init__(self, burst: int = 100, per_second: float = 10.0) -> None:
        self._burst = burst
        self._per_second = per_second
        self._buckets: dict[Hashable, tuple[float, float, int]] = {}  # tokens, when, suppressed since

    def admit(self, kind: Hashable, now: float) -> int | None:
        """Return how many were suppressed before this one, None when this one is to be suppressed.

        ``now`` is in seconds of a clock that does not go back.
        """
        tokens, before, suppressed = self._buckets.get(kind, (float(self._burst), now, 0))
        tokens = min(self._burst, tokens + (now - before) * self._per_second)
        if tokens < 1:
            self._buckets[kind] = (tokens, now, suppressed + 1)
            return None
        self._buckets[kind] = (tokens - 1, now, 0)
        return suppressed

    def left_out(self) -> dict[Hashable, int]:
        """Return how many of each kind were suppressed and not told yet."""
        return {kind: suppressed for kind, (_, _, suppressed) in self._buckets.items() if suppressed}

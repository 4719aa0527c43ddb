"""Recordings that nobody measured."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.records import Missing, Recording, Row

ENVIRONMENT = {
    "machine": {"cpu": {"usable": 2, "model": "A CPU"}, "kernel": {"release": "6.1"}},
    "versions": {
        "python": "CPython 3.13.0",
        "openssl": {"pyopenssl": "OpenSSL 4.0.0", "stdlib": "OpenSSL 3.0.0"},
        "git": {"revision": "0123456789abcdef", "dirty": False},
        "stunnel": "stunnel 5",
        "haproxy": None,
    },
}


def recording(
    benchmark: str, rows: Sequence[Row], missing: Sequence[Missing] = (), *, quick: bool = False
) -> Recording:
    return Recording(
        benchmark=benchmark,
        command=f"python -m benchmarks run {benchmark}",
        quick=quick,
        started_at="2026-01-02T03:04:05+00:00",
        duration_s=12.5,
        load_before=(0.25, 0, 0),
        load_after=(1.5, 0, 0),
        sizes={"rounds": 3, "handshakes": 300},
        environment=ENVIRONMENT,
        rows=tuple(rows),
        missing=tuple(missing),
    )

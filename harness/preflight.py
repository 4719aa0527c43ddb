"""One download by each route before a campaign: everything works, and all negotiate the same.

What they agree on (:class:`~harness.validity.Terms`) is what every sample of the campaign is held against.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from harness.ensemble import Ensemble
from harness.errors import HarnessError
from harness.links import Link
from harness.records import Stack
from harness.routes import Route
from harness.trial import run_trial
from harness.validity import Terms, body_error, disagreement, incomparable


async def preflight(ensemble: Ensemble, link: Link, timeout_s: float) -> tuple[dict[Route, Terms], str]:
    """The terms that each route negotiates, all alike where they must be, and the body's SHA-256.

    HarnessError in one sentence when not.
    """
    reports = {route: await _download(ensemble, link, route, timeout_s) for route in ensemble.routes}
    baseline, *others = ensemble.routes
    sha256 = ensemble.file.sha256 or str(reports[baseline]["body_sha256"])
    for route, report in reports.items():
        error = body_error(report["body_bytes"], report["body_sha256"], ensemble.file.size_bytes, sha256)
        if error:
            raise HarnessError(f"{_failed(ensemble, route)} {error}{_size_hint(ensemble, report)}")
    terms = {route: _terms(ensemble, route, report) for route, report in reports.items()}
    for route in others:
        differs = disagreement(terms[baseline], terms[route], incomparable(baseline.stack, route.stack))
        if differs:
            raise HarnessError(
                f"{baseline.name} and {route.name} do not negotiate the same, so their times cannot be"
                f" compared: {differs}."
            )
    return terms, sha256


async def _download(ensemble: Ensemble, link: Link, route: Route, timeout_s: float) -> dict[str, Any]:
    observed = await run_trial(ensemble, link, route, 1, timeout_s)
    if observed.lost:
        raise HarnessError(observed.lost)
    report = dict(observed.reports[0])
    if not report["ok"]:
        raise HarnessError(f"{_failed(ensemble, route)} {report['error']}")
    return report


def _failed(ensemble: Ensemble, route: Route) -> str:
    target = ensemble.target_of(route)
    scheme = "http" if route.stack is Stack.PLAIN else "https"
    url = f"{scheme}://{target.server_name}:{target.port}{target.path}"
    return f"The {route.name} client cannot download {url} ({target.address}), so nothing was measured:"


def _size_hint(ensemble: Ensemble, report: dict[str, Any]) -> str:
    if report["body_bytes"] == ensemble.file.size_bytes:
        return ""
    return f" Say --set size_bytes={report['body_bytes']} if that is the file."


def _terms(ensemble: Ensemble, route: Route, report: dict[str, Any]) -> Terms:
    values = {field.name: report.get(field.name) for field in fields(Terms)}
    if route.stack.is_ssa and ensemble.daemon is not None:
        values["openssl"] = ensemble.daemon.openssl
    return Terms(**values)

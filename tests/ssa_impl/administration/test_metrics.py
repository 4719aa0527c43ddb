"""What is counted, how it adds up, and whether scrapers can read it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ssa_impl import errors
from ssa_impl.administration.metrics import (
    BUCKETS_S,
    FAMILIES,
    Counts,
    Kind,
    Totals,
    Traffic,
    from_json_value,
    merged,
    reason_of,
    to_json_value,
)
from ssa_impl.administration.openmetrics import render

Reading = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Reading:
    """Return what a scraper reads; whatever breaks the format is an error of the parser's."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def counted() -> Counts:
    """Return the counts of a worker that has seen everything once."""
    counts = Counts()
    for received in (100, 20):
        traffic = Traffic("web")
        counts.opened(traffic)
        traffic.received_bytes += received
        traffic.sent_bytes += 1
    counts.closed(traffic)
    counts.authenticated("web", "initiator", 0x0304, False, 0.003)
    counts.authenticated("web", "initiator", 0x0303, True, 61.0)
    counts.refused("web", "acceptor", errors.CertificateError("no"))
    counts.broken("web", "initiator", errors.TruncationError("cut"))
    return counts


def test_a_scraper_reads_what_was_counted() -> None:
    totals = Totals("0.1.0", "OpenSSL 4.0.0", 1_760_000_000.25)
    totals.told(0, from_json_value(json.loads(json.dumps(to_json_value(counted().snapshot())))))
    totals.reloads(0, 1)
    seen = read(render(totals.snapshot(2)))
    web, initiator = ("profile", "web"), ("role", "initiator")
    assert seen["ssa_build_info", (("openssl", "OpenSSL 4.0.0"), ("version", "0.1.0"))] == 1
    assert seen["ssa_start_time_seconds", ()] == 1_760_000_000.25
    assert seen["ssa_workers", ()] == 2
    assert seen["ssa_policy_reloads_total", (("result", "refused"),)] == 1
    assert seen["ssa_policy_reloads_total", (("result", "ok"),)] == 0
    assert seen["ssa_sockets", (web,)] == 1
    assert seen["ssa_connections_total", (web, initiator)] == 2
    assert seen["ssa_handshakes_total", (web, ("result", "full"), initiator, ("version", "TLSv1.3"))] == 1
    assert seen["ssa_handshakes_total", (web, ("result", "resumed"), initiator, ("version", "TLSv1.2"))] == 1
    assert seen["ssa_handshakes_total", (web, ("result", "failed"), ("role", "acceptor"), ("version", "none"))] == 1
    assert seen["ssa_connection_failures_total", (web, ("reason", "certificate"), ("role", "acceptor"))] == 1
    assert seen["ssa_connections_broken_total", (web, ("reason", "truncated"), initiator)] == 1
    assert seen["ssa_received_bytes_total", (web,)] == 120
    assert seen["ssa_sent_bytes_total", (web,)] == 2
    assert seen["ssa_handshake_seconds_bucket", (("le", "0.0025"), web, initiator)] == 0
    assert seen["ssa_handshake_seconds_bucket", (("le", "0.005"), web, initiator)] == 1
    assert seen["ssa_handshake_seconds_bucket", (("le", "60.0"), web, initiator)] == 1
    assert seen["ssa_handshake_seconds_bucket", (("le", "+Inf"), web, initiator)] == 2
    assert seen["ssa_handshake_seconds_count", (web, initiator)] == 2
    assert seen["ssa_handshake_seconds_sum", (web, initiator)] == 61.003


def test_all_families_are_announced_before_anything_was_counted() -> None:
    families = {family.name: family for family in text_string_to_metric_families(render({}))}
    assert list(families) == [family.name for family in FAMILIES]
    assert all(families[family.name].type == family.kind.value for family in FAMILIES)
    assert all(family.name.endswith("_" + family.unit) for family in FAMILIES if family.unit)


def test_no_counter_falls_when_a_worker_ends() -> None:
    totals = Totals("", "", 0)
    totals.told(0, counted().snapshot())
    totals.told(1, counted().snapshot())
    before = read(render(totals.snapshot(2)))
    totals.worker_ended(0)
    without = read(render(totals.snapshot(1)))
    gauges = {family.name for family in FAMILIES if family.kind is Kind.GAUGE}
    assert without["ssa_sockets", (("profile", "web"),)] == 1
    assert without["ssa_worker_restarts_total", ()] == 1
    assert all(without[key] >= value for key, value in before.items() if key[0] not in gauges)
    totals.told(0, counted().snapshot())
    totals.worker_ended(0)
    assert read(render(totals.snapshot(1)))["ssa_connections_total", (("profile", "web"), ("role", "initiator"))] == 6


@given(st.lists(st.floats(0, 100)))
def test_the_histogram_has_every_handshake_once(latencies_s: list[float]) -> None:
    counts = Counts()
    for latency_s in latencies_s:
        counts.authenticated("p", "initiator", 0x0304, False, latency_s)
    seen = read(render(counts.snapshot()))
    labels = (("profile", "p"), ("role", "initiator"))
    for bound in BUCKETS_S if latencies_s else ():
        below = seen["ssa_handshake_seconds_bucket", (("le", str(bound)), *labels)]
        assert below == sum(latency_s <= bound for latency_s in latencies_s)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_profile_name_survives(name: str) -> None:
    counts = Counts()
    counts.opened(Traffic(name))
    assert read(render(counts.snapshot()))["ssa_sockets", (("profile", name),)] == 1


def test_adding_up_leaves_the_parts_alone() -> None:
    part = counted().snapshot()
    merged([part, part])
    assert part == counted().snapshot()


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (errors.CertificateError("x"), "certificate"),
        (errors.HandshakeTimeoutError("x"), "timeout"),
        (errors.TruncationError("x"), "truncated"),
        (errors.PeerError("x"), "protocol"),
        (errors.NetworkError("x", 111), "network"),
        (errors.PolicyError("x"), "policy"),
        (errors.ApplicationError("x"), "application"),
        (errors.DaemonError("x"), "daemon"),
        (errors.SsaError("x"), "daemon"),
    ],
)
def test_a_failure_has_one_word(error: errors.SsaError, word: str) -> None:
    assert reason_of(error) == word

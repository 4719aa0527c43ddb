from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.assemble import Identity, Observed, Setting, assemble
from harness.links import Counters
from harness.records import Cpu, Outcome, Stack
from harness.validity import Terms, body_error, disagreement

Make = Callable[..., Any]


def test_a_good_trial(setting: Setting, identify: Make, observe: Make) -> None:
    daemon = Cpu(user_ns=1, system_ns=2, total_ns=3)
    observed = observe(3, daemon=daemon, link=Counters(10, 20, 0), load_1min=0.5)
    trial, samples = assemble(identify(Stack.SSA, 3, sequence=4), setting, observed, "OpenSSL 4.0.3")
    assert (trial.outcome, trial.reason, trial.sequence) == (Outcome.OK, "", 4)
    assert trial.elapsed_ns == 500_002
    assert trial.release_spread_ns == 2000
    assert trial.setup_ns == 4_000
    assert trial.teardown_ns == 2_000_000 - 5_000 - 500_002
    assert trial.cpu_clients == Cpu(user_ns=21, system_ns=15, total_ns=36, peak_rss_bytes=3 * 4096)
    assert trial.cpu_daemon == daemon
    assert (trial.link_tx_bytes, trial.link_rx_bytes, trial.tcp_retransmits) == (10, 20, 0)
    assert [sample.process for sample in samples] == [0, 1, 2]
    assert {sample.outcome for sample in samples} == {Outcome.OK}


def test_the_ssas_samples_carry_the_daemons_build(
    setting: Setting, identify: Make, observe: Make, report: Make
) -> None:
    observed = observe(1, reports=[report(0, openssl=None)])
    _, (sample,) = assemble(identify(Stack.SSA, 1), setting, observed, "OpenSSL 4.0.3")
    assert sample.openssl == "OpenSSL 4.0.3"
    trial, (sample,) = assemble(identify(Stack.OPENSSL, 1), setting, observed, "OpenSSL 4.0.3")
    assert sample.openssl is None
    assert trial.outcome is Outcome.INVALID


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({"ok": False, "error": "Refused."}, Outcome.FAILED, "1 of 3 processes: Refused."),
        ({"ok": False, "late": True, "error": "Slow."}, Outcome.TIMEOUT, "1 of 3 processes: Slow."),
        ({"body_bytes": 9}, Outcome.FAILED, "1 of 3 processes: The body has 9 bytes instead of 1000."),
        ({"body_sha256": "ef" * 32}, Outcome.FAILED, "1 of 3 processes: The body is not the file: its"),
        (
            {"tls_cipher": "TLS_AES_128_GCM_SHA256"},
            Outcome.INVALID,
            "Process 1 did not negotiate what was agreed: cipher suite (TLS_AES_256_GCM_SHA384, TLS_AES_128",
        ),
        ({"tls_resumed": True}, Outcome.INVALID, "Process 1 did not negotiate what was agreed: resumption"),
    ],
)
def test_one_bad_process(
    changes: dict[str, object], outcome: Outcome, reason: str, setting: Setting, make_bad: Make
) -> None:
    trial, samples = assemble(*make_bad(setting, changes), None)
    assert trial.outcome is outcome
    assert trial.reason.startswith(reason)
    assert len(samples) == trial.n == 3


@pytest.fixture
def make_bad(identify: Make, observe: Make, report: Make) -> Make:
    def make(setting: Setting, changes: dict[str, object]) -> tuple[Identity, Setting, Observed]:
        reports = [report(0), report(1, **changes), report(2)]
        return identify(Stack.OPENSSL, 3), setting, observe(3, reports=reports)

    return make


def test_a_dead_process_leaves_no_elapsed_time(setting: Setting, identify: Make, observe: Make, report: Make) -> None:
    dead = {"process": 2, "pid": None, "ok": False, "late": False, "error": "The process was ended by SIGKILL."}
    observed = observe(3, reports=[report(0), report(1), dead])
    trial, samples = assemble(identify(Stack.OPENSSL, 3), setting, observed, None)
    assert (trial.elapsed_ns, trial.release_spread_ns, trial.cpu_clients) == (None, None, None)
    assert samples[2].outcome is Outcome.FAILED


def test_a_lost_party_aborts_the_trial(setting: Setting, identify: Make, observe: Make) -> None:
    observed = observe(3, reports=[], lost="The SSA daemon was ended by SIGKILL.\n  more", release_ns=None)
    trial, samples = assemble(identify(Stack.SSA, 3), setting, observed, "OpenSSL 4.0.3")
    assert (trial.outcome, trial.reason) == (Outcome.ABORTED, "The SSA daemon was ended by SIGKILL.")
    assert (trial.release_ns, trial.elapsed_ns, trial.teardown_ns) == (None, None, 0)
    assert [sample.outcome for sample in samples] == [Outcome.ABORTED] * 3


def test_a_missing_process_is_a_failure(setting: Setting, identify: Make, observe: Make) -> None:
    trial, _ = assemble(identify(Stack.OPENSSL, 3), setting, observe(2), None)
    assert (trial.outcome, trial.reason) == (Outcome.FAILED, "1 of 3 processes are missing.")


def test_terms_differ_by_name(terms: Terms) -> None:
    assert disagreement(terms, terms) == ""
    assert disagreement(terms, replace(terms, tls_alpn="h2")) == "ALPN protocol (none, h2)"
    assert disagreement(terms, replace(terms, tls_group=None)) == "key exchange group (x25519, unknown)"


def test_unknown_terms_are_never_the_same(terms: Terms) -> None:
    unknown = replace(terms, openssl=None)
    assert disagreement(unknown, unknown) == "OpenSSL build (unknown, unknown)"


def test_bodies() -> None:
    assert body_error(5, "aa", 5, "aa") == ""
    assert "5 bytes instead of 6" in body_error(5, "aa", 6, "aa")
    assert "is bb instead of aa" in body_error(5, "bb", 5, "aa")

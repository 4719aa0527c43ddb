"""The administrator's table: what it becomes, and all that is wrong with it at once."""

from __future__ import annotations

import pickle
import tomllib

import pytest

from ssa_impl.abi import Opt
from ssa_impl.validation.files import paths
from ssa_impl.validation.model import OPENSSL_ALONE, Choice, Count, Validation, tighten
from ssa_impl.validation.registry import strategy_for
from ssa_impl.validation.strategies.revocation import Revocation
from ssa_impl.validation.table import Complaint, validation_from_table

WHOLE = """
necessary = ["trust-store-and-hostname", "ocsp"]
voting = ["pinning", "webpki", "engine"]
threshold_percent = 50
error = "abstain"
timeout_s = 2

[ocsp]
strategy = "revocation"
sources = ["stapled", "ocsp"]
error = "reject"

[pinning]
first_use = true
state_file = "/var/lib/ssad/pins.json"
pins = { "*.example.org" = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="] }

[engine]
strategy = "external-engine"
socket = "/run/engine"
abstain = "reject"
timeout = "accept"
timeout_s = 0.5
"""


def validation(text: str) -> Validation:
    made = validation_from_table(tomllib.loads(text))
    assert isinstance(made, Validation), made
    return made


def complaints(text: str) -> list[tuple[str, str, str]]:
    made = validation_from_table(tomllib.loads(text))
    assert isinstance(made, list), made
    return [(complaint.key, complaint.text, complaint.suggestion) for complaint in made]


def test_a_whole_table() -> None:
    made = validation(WHOLE)
    assert [choice.name for choice in made.necessary] == ["trust-store-and-hostname", "ocsp"]
    assert [choice.name for choice in made.voting] == ["pinning", "webpki", "engine"]
    assert made.threshold_percent == 50
    assert made.openssl_decides
    ocsp, engine = made.necessary[1], made.voting[2]
    assert (ocsp.strategy, ocsp.error, ocsp.timeout_s) == ("revocation", Count.REJECT, 2)
    assert dict(ocsp.parameters)["sources"] == ("stapled", "ocsp")
    assert (engine.abstain, engine.error, engine.timeout) == (Count.REJECT, Count.ABSTAIN, Count.ACCEPT)
    assert engine.timeout_s == 0.5
    assert made.voting[0].timeout_s == 2


def test_it_can_be_sent_to_workers_and_be_a_key() -> None:
    made = validation(WHOLE)
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert hash(again) == hash(made)
    assert [*map(strategy_for, again.choices())] == [*map(strategy_for, made.choices())]


def test_files_for_whoever_confines_the_workers() -> None:
    read, written = paths(validation(WHOLE))
    assert read == {"/run"}
    assert written == {"/var/lib/ssad"}


def test_all_complaints_at_once() -> None:
    assert sorted(complaints("""
        necessary = ["trust-store-and-hostnam", "revocation"]
        voting = ["revocation", "pinning"]
        treshold_percent = 50
        abstain = "acept"
        timeout_s = 0
        [revocation]
        sources = ["stapeld"]
        soft_fial = true
        [pinning]
        pins = { "a.example" = ["sha256/short"] }
        [webpki]
    """)) == sorted([
        ("treshold_percent", "validation has no key treshold_percent", "threshold_percent"),
        ("voting", "revocation is necessary already, so its vote has no meaning", ""),
        ("trust-store-and-hostnam", "there is no strategy trust-store-and-hostnam", "trust-store-and-hostname"),
        ("abstain", "abstain must be one of accept, reject, abstain", "accept"),
        ("timeout_s", "timeout_s must be a number above 0 and at most 60", ""),
        ("revocation.soft_fial", "revocation has no parameter soft_fial", "soft_fail"),
        ("revocation.sources",
         "sources cannot be 'stapeld': it must be among cached, stapled, ocsp, crl", ""),
        ("pinning.pins", "pins 'sha256/short' must be `sha256/` and the base64 of 32 bytes", ""),
        ("webpki", "webpki has a table but is neither necessary nor voting", ""),
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "necessary"),
        ('necessary = "webpki"', "necessary"),
        ('necessary = ["webpki", "webpki"]', "necessary"),
        ('necessary = ["webpki"]\nthreshold_percent = 50', "threshold_percent"),
        ('voting = ["webpki"]\nthreshold_percent = 0', "threshold_percent"),
        ('voting = ["webpki"]\nthreshold_percent = true', "threshold_percent"),
        ('necessary = ["x"]\n[x]\nstrategy = "webpk"', "x.strategy"),
        ('necessary = ["x"]\n[x]\nstrategy = 7', "x.strategy"),
        ('necessary = ["revocation"]\n[revocation]\nstrategy = "webpki"', "revocation.strategy"),
        ('necessary = ["webpki"]\n[webpki]\nmax_depth = 33', "webpki.max_depth"),
        ('necessary = ["webpki"]\n[webpki]\ntrust_store = "here.pem"', "webpki.trust_store"),
        ('necessary = ["webpki"]\n[webpki]\ntimeout_s = "1"', "webpki.timeout_s"),
        ('necessary = ["webpki"]\n[webpki]\nerror = "ignore"', "webpki.error"),
        ('necessary = ["pinning"]', "pinning"),
        ('necessary = ["allow-list"]', "allow-list"),
        ('necessary = ["external-engine"]', "external-engine.socket"),
        ('necessary = ["revocation"]\n[revocation]\nsources = ["cached"]', "revocation.sources"),
        ('necessary = ["revocation"]\n[revocation]\nresponder = "https://a"', "revocation.responder"),
        ('necessary = ["revocation"]\n[revocation]\nresponder = "http://[::1"', "revocation.responder"),
        ('necessary = ["revocation"]\n[revocation]\nresponder = "http://a:99999/"', "revocation.responder"),
        ('necessary = ["revocation"]\n[revocation]\nsoft_fail = 1', "revocation.soft_fail"),
    ],
)
def test_one_complaint(text: str, key: str) -> None:
    assert [complaint[0] for complaint in complaints(text)] == [key]


@pytest.mark.parametrize("table", ["text", 7, []])
def test_no_table(table: object) -> None:
    assert validation_from_table(table) == [Complaint("", "validation must be a table")]


# -- what an application adds


def test_an_application_adds_a_check_and_takes_none_away() -> None:
    before = validation('necessary = ["webpki"]\n[revocation]\nsoft_fail = true\nresponder = "http://10.0.0.1/"')
    after = tighten(before, {Opt.TLS_OCSP_CHECKS}, frozenset())
    assert after is not None
    assert after.necessary[:-1] == before.necessary
    added = after.necessary[-1]
    assert (added.name, added.error) == ("revocation (application)", Count.REJECT)
    parameters = dict(added.parameters)
    assert (parameters["sources"], parameters["soft_fail"]) == (("ocsp",), False)
    assert parameters["responder"] == "http://10.0.0.1/"
    assert isinstance(strategy_for(added), Revocation)


def test_the_master_switch_means_all_that_the_profile_has() -> None:
    allowed = frozenset({Opt.TLS_REVOCATION_CHECKS, Opt.TLS_CRL_CHECKS, Opt.TLS_OCSP_STAPLED_CHECKS})
    after = tighten(None, {Opt.TLS_REVOCATION_CHECKS}, allowed)
    assert after is not None
    assert after.necessary[:-1] == OPENSSL_ALONE.necessary
    assert dict(after.necessary[-1].parameters)["sources"] == ("stapled", "crl")
    assert isinstance(strategy_for(after.necessary[-1]), Revocation)


def test_the_master_switch_alone_means_the_tables_own_sources() -> None:
    before = validation('voting = ["revocation"]\n[revocation]\nsources = ["crl"]\nsoft_fail = true')
    after = tighten(before, {Opt.TLS_REVOCATION_CHECKS}, frozenset())
    assert after is not None
    (added,) = after.necessary
    assert (dict(added.parameters)["sources"], dict(added.parameters)["soft_fail"]) == (("crl",), False)
    assert after.voting == before.voting


def test_nothing_switched_on_changes_nothing() -> None:
    assert tighten(None, (), frozenset({Opt.TLS_CRL_CHECKS})) is None
    assert tighten(OPENSSL_ALONE, (), frozenset()) is OPENSSL_ALONE


def test_an_unknown_plug_in_has_no_instance() -> None:
    with pytest.raises(KeyError):
        strategy_for(Choice("x", "x"))

"""From files to a policy: precedence, vendor profiles, and every mistake with its place and a suggestion."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from cryptography import x509

from ssa_impl.abi import Opt
from ssa_impl.policy.ciphers import fits_level, is_tls_1_3
from ssa_impl.policy.files import PolicyPaths
from ssa_impl.policy.load import load_policy
from ssa_impl.policy.model import NamedKey, Profile
from ssa_impl.policy.policy import Policy
from ssa_impl.validation.model import Validation
from tests.certificates import authority
from tests.ssa_impl.credentials import anchors
from tests.ssa_impl.policy.files import complaints, load, write


def test_what_the_package_brings_is_what_is_built_in() -> None:
    policy = load_policy(PolicyPaths())
    assert policy.profiles["default"] == Profile()
    assert policy.daemon == Policy().daemon
    assert (policy.rules, policy.keys) == ((), {})
    assert set(policy.profiles) == {"default", "modern", "intermediate", "legacy"}


def test_vendor_profiles_become_stricter_step_by_step() -> None:
    profiles = load_policy(PolicyPaths()).profiles
    legacy, intermediate, modern = (profiles[name] for name in ("legacy", "intermediate", "modern"))
    assert (modern.version_min, modern.version_max) == (0x0304, 0x0304)
    assert (intermediate.version_min, legacy.version_min) == (0x0303, 0x0303)
    older = [{name for name in profile.ciphers if not is_tls_1_3(name)} for profile in (intermediate, legacy)]
    assert older[0] < older[1]
    assert all(name.startswith(("ECDHE-", "DHE-")) for name in older[0])
    assert len(older[0]) == 9  # the guidelines' count
    suites = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
    for profile in (modern, intermediate, legacy):
        assert {name for name in profile.ciphers if is_tls_1_3(name)} == suites
        assert all(fits_level(name, profile.security_level) for name in profile.ciphers if name in older[1] | suites)


def test_a_policy_crosses_between_processes(tmp_path: Path) -> None:
    policy = load(tmp_path, '[profile.web]\nextends = "modern"\n[profile.web.validation]\nnecessary = ["webpki"]')
    copy = pickle.loads(pickle.dumps(policy))
    assert copy == policy
    assert copy.profiles["web"].rule("version_min") == policy.profiles["web"].rule("version_min")


def test_profile_before_what_it_extends_before_defaults_before_the_package(tmp_path: Path) -> None:
    policy = load(
        tmp_path,
        """
        [defaults]
        verify_depth = 1
        session_ttl_s = 10
        security_level = 3
        [profile.base]
        verify_depth = 2
        session_ttl_s = 20
        [profile.web]
        extends = "base"
        verify_depth = 3
        """,
    )
    web = policy.profiles["web"]
    assert (web.verify_depth, web.session_ttl_s, web.security_level, web.accept_timeout_s) == (3, 20, 3, 20)
    assert policy.profiles["default"].verify_depth == 1
    assert {key: web.origins[key].line for key in ("verify_depth", "session_ttl_s", "security_level")} == {
        "verify_depth": 11, "session_ttl_s": 8, "security_level": 5,
    }  # fmt: skip
    assert web.origins["accept_timeout_s"].file == "vendor/default.toml"


def test_a_later_drop_in_is_stronger_and_the_main_file_is_the_weakest(tmp_path: Path) -> None:
    policy = load(
        tmp_path,
        "[defaults]\nverify_depth = 1\nsession_ttl_s = 1\naccept_timeout_s = 1\n"
        '[[application]]\nprofile = "modern"\nuser = 0',
        a10='[defaults]\nverify_depth = 2\nsession_ttl_s = 2\n[[application]]\nprofile = "legacy"\nuser = 0',
        a20='[defaults]\nverify_depth = 3\n[[application]]\nprofile = "intermediate"\nuser = 0\n'
        '[[application]]\nprofile = "default"\nuser = 0',
    )
    default = policy.profiles["default"]
    assert (default.verify_depth, default.session_ttl_s, default.accept_timeout_s) == (3, 2, 1)
    assert [rule.profile for rule in policy.rules] == ["intermediate", "default", "legacy", "modern"]
    names = [Path(file).name for file in policy.files]
    assert names == ["a20.toml", "a10.toml", "ssa.toml", "mozilla.toml", "default.toml"]


def test_a_drop_in_changes_one_key_of_a_profile(tmp_path: Path) -> None:
    web = load(tmp_path, "[profile.web]\nverify_depth = 1\nsession_ttl_s = 1", x="[profile.web]\nverify_depth = 2")
    assert (web.profiles["web"].verify_depth, web.profiles["web"].session_ttl_s) == (2, 1)


def test_everything_that_a_profile_can_say(tmp_path: Path) -> None:
    anchor = write(tmp_path / "ca.pem", anchors().decode())
    made = load(
        tmp_path,
        f"""
        [profile.web]
        version_min = "1.3"
        suites = ["TLS_AES_256_GCM_SHA384"]
        groups = ["X25519", "P-384"]
        signature_algorithms = ["ed25519", "ECDSA+SHA256"]
        security_level = 3
        alpn = ["h2"]
        send_server_name = false
        trust_store = ["{anchor}"]
        application_anchors = false
        hostname_required = false
        client_certificate_required = true
        revocation_sources = ["ocsp", "crl"]
        session_reuse = false
        session_scope = "user"
        keys = ["shop"]
        truncation_allowed = true
        key_log = "/var/log/ssa.keys"
        [profile.web.validation]
        necessary = ["trust-store-and-hostname"]
        [key.shop]
        chain = "/a"
        key = "/b"
        profiles = ["web"]
        paths = ["/c"]
        [daemon]
        drain_timeout_s = 7
        """,
    )
    web = made.profiles["web"]
    assert (web.version_min, web.groups, web.security_level) == (0x0304, ("X25519", "P-384"), 3)
    assert [name for name in web.ciphers if is_tls_1_3(name)] == ["TLS_AES_256_GCM_SHA384"]
    assert web.signature_algorithms == ("ed25519", "ECDSA+SHA256")
    assert (web.alpn_allowed, web.send_server_name, web.honour_application_anchors) == (("h2",), False, False)
    assert not web.trust_system
    assert x509.load_pem_x509_certificates(web.trust_anchors_pem) == x509.load_pem_x509_certificates(anchors())
    assert (web.hostname_required, web.client_certificate_required, web.truncation_allowed) == (False, True, True)
    assert web.revocation_sources == {Opt.TLS_OCSP_CHECKS, Opt.TLS_CRL_CHECKS}
    assert (web.session_reuse_allowed, web.session_scope, web.keys) == (False, "user", ("shop",))
    assert made.key_log_paths == ("/var/log/ssa.keys",)
    assert isinstance(web.validation, Validation)
    assert made.keys == {"shop": NamedKey("shop", "/a", "/b", frozenset({"web"}), frozenset({"/c"}))}
    assert made.daemon.drain_timeout_s == 7


def test_a_directory_of_anchors(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.pem", anchors().decode())
    write(tmp_path / "d" / "b.crt", authority().anchors_pem.decode())
    write(tmp_path / "d" / "README", "nothing")
    made = load(tmp_path, f'[defaults]\ntrust_store = ["system", "{tmp_path}/d"]').profiles["default"]
    assert made.trust_system
    assert len(x509.load_pem_x509_certificates(made.trust_anchors_pem)) == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[defaults]\nverify_dept = 1",
         "ssa.toml:2: defaults.verify_dept: there is no such key; did you mean verify_depth?"),
        ("[defautls]", "ssa.toml:1: defautls: there is no such table; did you mean defaults?"),
        ("defaults = 1", "ssa.toml:1: defaults: must be a table, not a whole number"),
        ("profile = 1", "ssa.toml:1: profile: must be tables with names, not a whole number; [profile.NAME]"),
        ("[profile]\nweb = 1", "ssa.toml:2: profile.web: must be a table, not a whole number"),
        ('[profile."a b"]', 'ssa.toml:1: profile: "a b" cannot be a name; 1 to 64 of the letters A-Z a-z 0-9 . _ -'),
        ("[application]", "ssa.toml:1: application: must be tables; write [[application]]"),
        ('[defaults]\nversion_min = "1.0"',
         'ssa.toml:2: defaults.version_min: "1.0" is no TLS version; write "1.2" or "1.3"'),
        ("[defaults]\nversion_min = 1.2",
         'ssa.toml:2: defaults.version_min: a number is no TLS version; write "1.2" or "1.3"'),
        ('[defaults]\nhostname_required = "no"',
         "ssa.toml:2: defaults.hostname_required: must be true or false, not a string; write it without quotes"),
        ("[defaults]\nverify_depth = true", "ssa.toml:2: defaults.verify_depth: must be a whole number, not a boolean"),
        ("[defaults]\nverify_depth = 101",
         "ssa.toml:2: defaults.verify_depth: 101 is out of range; it can be 0 to 100"),
        ("[defaults]\nverify_depth = 0x" + "f" * 5000,
         "ssa.toml:2: defaults.verify_depth: more than 128 bits is out of range; it can be 0 to 100"),
        ("[defaults]\naccept_timeout_s = 1" + "0" * 400,
         "ssa.toml:2: defaults.accept_timeout_s: more than 128 bits is out of range; it can be 0.1 to 3600"),
        ("[defaults]\nversion_min = {at = '1.2'}",
         'ssa.toml:2: defaults.version_min: a table is no TLS version; write "1.2" or "1.3"'),
        ('[profile."a\\n\\u001b[2J"]',
         'ssa.toml:1: profile: "a\\n\\x1b[2J" cannot be a name; 1 to 64 of the letters A-Z a-z 0-9 . _ -'),
        ('[defaults]\n"\\u001b[2J" = 1',
         "ssa.toml:2: defaults.\\x1b[2J: there is no such key; docs/administrators/policy.md has them all"),
        ("[defaults]\naccept_timeout_s = nan",
         "ssa.toml:2: defaults.accept_timeout_s: nan is out of range; it can be 0.1 to 3600"),
        ('[defaults]\nciphers = ["ECDHE-RSA-AES128-GCM-SHA25"]',
         "ssa.toml:2: defaults.ciphers: OpenSSL knows no cipher ECDHE-RSA-AES128-GCM-SHA25; "
         "did you mean ECDHE-RSA-AES128-GCM-SHA256?"),
        ('[defaults]\nsuites = ["AES128-SHA"]',
         "ssa.toml:2: defaults.suites: AES128-SHA is of the other TLS version; it belongs under ciphers"),
        ('[defaults]\ngroups = ["X2551"]',
         "ssa.toml:2: defaults.groups: OpenSSL knows no group X2551; did you mean X25519?"),
        ('[defaults]\ngroups = ["X25519:P-256"]',
         "ssa.toml:2: defaults.groups: OpenSSL knows no group X25519:P-256; did you mean X25519?"),
        ('[defaults]\nsignature_algorithms = ["ed2551"]',
         "ssa.toml:2: defaults.signature_algorithms: OpenSSL knows no signature algorithm ed2551; "
            "did you mean ed25519?"),
        ("[defaults]\ntrust_store = []",
         'ssa.toml:2: defaults.trust_store: must not be empty: nobody would be trusted; name "system" or a path'),
        ('[defaults]\ntrust_store = ["sytem"]',
         'ssa.toml:2: defaults.trust_store: "sytem" is neither "system" nor an absolute path; did you mean system?'),
        ('[defaults]\nalpn = "h2"',
         "ssa.toml:2: defaults.alpn: must be a list of strings, not a string; put it in [ ]"),
        ('[defaults]\nalpn = ["h2", "h2"]', 'ssa.toml:2: defaults.alpn: "h2" is there twice'),
        ('[defaults]\nrevocation_sources = ["oscp"]',
         'ssa.toml:2: defaults.revocation_sources: "oscp" is none of its values; did you mean ocsp?'),
        ('[defaults]\nextends = "modern"',
         "ssa.toml:2: defaults.extends: there is no such key; docs/administrators/policy.md has them all"),
        ('[profile.a]\nextends = "moder"',
         "ssa.toml:2: profile.a.extends: there is no profile moder; did you mean modern?"),
        ('[profile.a]\nextends = "a"', "ssa.toml:2: profile.a.extends: a circle: a extends a"),
        ('[profile.a]\nkeys = ["k"]', "ssa.toml:2: keys: there is no key k"),
        ('[key.k]\nchain = "/a"\nkey = "/b"', "ssa.toml:1: key.k: profiles must be given"),
        ('[key.k]\nchain = "/a"\nkey = "/b"\nprofiles = ["moden"]',
         "ssa.toml:4: key.k.profiles: there is no profile moden; did you mean modern?"),
        ('[profile.a]\nkeys = ["k"]\n[key.k]\nchain = "/a"\nkey = "/b"\nprofiles = ["modern"]',
         "ssa.toml:2: keys: the key k is not for the profile a; add it to profiles of [key.k]"),
        ('[[application]]\nprofile = "moder"\nuser = 0',
         "ssa.toml:2: application.profile: there is no profile moder; did you mean modern?"),
        ('[[application]]\nprofile = "modern"\nuser = "rooot"',
         "ssa.toml:3: application.user: there is no user rooot; did you mean root?"),
        ('[[application]]\nprofile = "modern"\n\nuser = -1',
         "ssa.toml:4: application.user: must be a string, not a whole number"),
        ('\n[[application]]\nprofile = "modern"',
         "ssa.toml:2: application: the rule has no condition (executable, user, group, unit, cgroup); "
         "for all applications there is [profile.default]"),
        ("[[application]]\nuser = 0", 'ssa.toml:1: application: the rule names no profile; write profile = "NAME"'),
        ('[[application]]\nprofile = "modern"\nexecutable = "curl"',
         'ssa.toml:3: application.executable: "curl" is no absolute path; '
         'write "/usr/bin/curl", or "**/curl" for any directory'),
        ("[daemon]\ndrain_timeout = 1",
         "ssa.toml:2: daemon.drain_timeout: [daemon] has no such key; did you mean drain_timeout_s?"),
        ('[profile.a]\nversion_min = "1.3"\nversion_max = "1.2"',
         "ssa.toml:2: profile.a.version_min: profile a: version_min is above version_max"),
        ("[profile.a]\nciphers = []",
         "ssa.toml:2: profile.a.ciphers: profile a: no cipher is left for TLS 1.2 at security level 2"),
        ('[profile.a]\nextends = "modern"\nsuites = []',
         "ssa.toml:3: profile.a.suites: profile a: no cipher is left for TLS 1.3 at security level 2"),
        ('[profile.a]\nciphers = ["AES256-SHA"]\nsecurity_level = 3',
         "ssa.toml:2: profile.a.ciphers: profile a: no cipher is left for TLS 1.2 at security level 3"),
        ('[profile.a]\n[profile.a.validation]\nnecessary = ["webpki"]\nx = 1',
         "ssa.toml:4: profile.a.validation.x: validation has no key x"),
        ('[profile.a]\nimport = "crypto-policy"',
         'ssa.toml:2: profile.a.import: "crypto-policy" is none of its values; did you mean crypto-policies?'),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, text: str, complaint: str) -> None:
    assert complaint in complaints(tmp_path, text)


def test_a_mistake_is_the_only_complaint_about_it(tmp_path: Path) -> None:
    assert len(complaints(tmp_path, "[defaults]\nverify_depth = 101\n[profile.a]\n[profile.b]\nextends='a'")) == 1


def test_all_mistakes_are_said_at_once_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    found = complaints(
        tmp_path,
        "[defaults]\nverify_depth = -1\nciphers = 3\n[key.k]\n",
        x="[[application]]\nuser = 'nobody-here'\n[profile.a]\nextends = 'none'",
    )
    assert [text.rpartition(": ")[0].split(": ")[0] for text in found] == [
        "ssa.d/x.toml:1", "ssa.d/x.toml:2", "ssa.d/x.toml:4", "ssa.toml:2", "ssa.toml:3", "ssa.toml:4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "text"), [("", "holds no certificate"), ("-----BEGIN CERTIFICATE-----\n", "holds no certificate")]
)
def test_a_trust_store_without_a_certificate(tmp_path: Path, content: str, text: str) -> None:
    write(tmp_path / "ca.pem", content)
    (found,) = complaints(tmp_path, f'[profile.a]\ntrust_store = ["{tmp_path}/ca.pem"]')
    assert found.startswith("ssa.toml:2: profile.a.trust_store")
    assert text in found


def test_a_trust_store_that_others_can_write(tmp_path: Path) -> None:
    write(tmp_path / "ca.pem", anchors().decode()).chmod(0o666)
    (found,) = complaints(tmp_path, f'[profile.a]\ntrust_store = ["{tmp_path}/ca.pem"]')
    assert "can be written by others than its owner; chmod go-w" in found


def test_a_chain_of_profiles_has_an_end(tmp_path: Path) -> None:
    """However long somebody makes it, reading it takes no longer than reading the file."""
    chain = "".join(f'[profile.p{number}]\nextends = "p{number + 1}"\n' for number in range(3000))
    found = complaints(tmp_path, chain + "[profile.p3000]\n")
    assert found[0].startswith("ssa.toml:64: profile.p31.extends: p0 extends more than 32 others, one by one")


@pytest.mark.parametrize("part", ["key", "profile"])
def test_what_is_no_table_is_complained_about_once(tmp_path: Path, part: str) -> None:
    assert complaints(tmp_path, f'[{part}]\nz = "q"') == [f"ssa.toml:2: {part}.z: must be a table, not a string"]

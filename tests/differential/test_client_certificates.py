"""What an acceptor thinks of a client's chain: OpenSSL's verdict for the purpose of a client, names aside."""

from __future__ import annotations

import pytest

from tests.differential.acceptors import NO_CERTIFICATE, of_openssl, of_the_daemon
from tests.differential.catalogue import CHAINS, through
from tests.differential.chains import CLIENTS, SERVERS, Case, authority, leaf
from tests.differential.verdicts import ACCEPTED, Verdict

PURPOSES = {
    "a_leaf_for_clients": "",
    "an_intermediate_for_clients": "",
    "an_intermediate_for_servers": "unsuitable certificate purpose",
    "a_leaf_for_servers": "unsuitable certificate purpose",
}
"""where a client's chain is judged otherwise than a server's"""


def _a_leaf_for_servers() -> Case:
    root = authority("root")
    return through(root, own=leaf(root, extended=SERVERS))


ALL = {**CHAINS, "a_leaf_for_servers": (_a_leaf_for_servers, "")}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("name", ALL)
def test_verdict(name: str, version: str) -> None:
    make, reason = ALL[name]
    case = make()
    reference = of_openssl(case, version)
    assert reference.is_because_of(PURPOSES.get(name, reason))
    assert of_the_daemon(case, version) == reference


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_client_without_a_certificate(version: str) -> None:
    assert of_the_daemon(None, version) == of_openssl(None, version) == Verdict(NO_CERTIFICATE)


def test_names_do_not_matter() -> None:
    root = authority("root")
    case = through(root, own=leaf(root, names=None, extended=CLIENTS))
    assert of_the_daemon(case) == of_openssl(case) == ACCEPTED

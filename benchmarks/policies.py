"""What a policy and its strategies add to a full handshake, as the client's side pays for it.

One handshake as in ``handshakes``.  Each policy has a daemon of its own; all of them take turns in each round, so what
differs between two columns is the policy.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from contextlib import ExitStack

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.machine import CpuMeter
from benchmarks.records import BenchmarkError, Role, Subject
from benchmarks.rounds import Cell, Findings, alternate, by_party, succeeded
from benchmarks.scenes import ENGINE_SOCKET, FULL, REVOCATION_LIST, PolicyOf, Scene, scene
from benchmarks.subjects import require
from webservers import Credentials

SIZES = {"rounds": 9, "handshakes": 200, "threads": 8}
QUICK = {"rounds": 1, "handshakes": 8, "threads": 2}
RULES = 50


def _rules(_: Credentials) -> str:
    """As many rules as an administrator might have, of which the last applies."""
    rule = '[[application]]\nprofile = "other"\nexecutable = "{}"\n'
    names = [f"/opt/vendor-{number}/*/bin/program" for number in range(RULES - 1)]
    return '[profile.other]\nextends = "intermediate"\n' + "".join(map(rule.format, [*names, "**/*"]))


def _also(strategy: str, table: str = "") -> PolicyOf:
    """The trust store and the name, and one strategy more."""

    def policy(credentials: Credentials) -> str:
        found = x509.load_pem_x509_certificate(credentials.chain.read_bytes())
        key = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        filled = table.format(
            name=credentials.server_name,
            pin="sha256/" + base64.b64encode(hashlib.sha256(key).digest()).decode(),
            crl=credentials.ca.with_name(REVOCATION_LIST),
            engine=credentials.ca.parent.parent / ENGINE_SOCKET,
        )
        head = f'[defaults.validation]\nnecessary = ["trust-store-and-hostname", "{strategy}"]\n'
        return f"{head}[defaults.validation.{strategy}]\n{filled}\n"

    return policy


POLICIES: Mapping[str, PolicyOf] = {
    "the packaged default": lambda _: "",
    f"{RULES} rules": _rules,
    "pinning": _also("pinning", 'pins = {{ "{name}" = ["{pin}"] }}'),
    "allow-list": _also("allow-list", 'names = ["{name}"]'),
    "revocation, a list": _also("revocation", 'sources = ["crl"]\ncrl_files = ["{crl}"]'),
    "an engine outside": _also("external-engine", 'socket = "{engine}"'),
}


def measure(sizes: Mapping[str, int], findings: Findings) -> None:
    """Fill the findings."""
    cell = Cell(Subject.SECCOMP, Role.CLIENT)
    with ExitStack() as stack:
        try:
            require(cell.subject)
        except BenchmarkError as error:
            findings.leave_out(cell, error)
            return
        scenes = {
            name: stack.enter_context(scene(cell.subject, Role.CLIENT, policy)) for name, policy in POLICIES.items()
        }
        order = list(scenes)

        def one(_: Cell) -> None:
            for name in order:
                _one(cell, name, scenes[name], sizes, findings)
            order.append(order.pop(0))

        alternate([cell], sizes["rounds"], one, findings)


def _one(cell: Cell, name: str, scene: Scene, sizes: Mapping[str, int], findings: Findings) -> None:
    ask = {"do": "handshakes", "port": scene.ports[FULL], "threads": sizes["threads"], "resume": False}
    scene.connector.ask(**ask, count=2 * sizes["threads"])
    meter = CpuMeter(scene.parties)
    answer = scene.connector.ask(**ask, count=sizes["handshakes"])
    used = meter.read()
    succeeded(answer, sizes["handshakes"])
    scene.listeners[FULL].ask(do="counts")
    quantities = by_party(scene, used, "CPU per handshake", 1000 / sizes["handshakes"], "ms")
    findings.rows.add(cell.subject, cell.role, name, quantities)

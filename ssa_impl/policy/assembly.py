"""Profiles out of tables: profile, what it extends, the defaults, in this order, and each value's origin kept.

A table's own keys are stronger than what it imports, unless a weaker file has them; what a profile extends is weaker
than both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ..validation.model import Validation
from ..validation.table import validation_from_table
from . import schema
from .ciphers import fits_level, is_tls_1_3
from .complaints import Wrong, nearest
from .crypto_policies import import_crypto_policies
from .files import read_trusted
from .model import TLS_1_2, TLS_1_3, Origin, Profile
from .shapes import text, word
from .tables import Complaints, Table, Tables, Value

_IMPORTS = ("crypto-policies",)
_DEFAULT = "default"
_DEEPEST = 32
"""profiles between one and the last that it extends"""
_FIELDS = frozenset(field.name for field in fields(Profile))
Read = Mapping[str, tuple[Any, Value]]
"""what a table's keys were read as"""


class Assembly:
    """Reads each table once, and puts the profiles together."""

    def __init__(self, tables: Tables, complaints: Complaints, crypto_policies: Path) -> None:
        self._tables = tables
        self._complaints = complaints
        self._crypto_policies = crypto_policies
        self._trusted: dict[str, bytes] = {}
        self._read = {name: self._read_table(table) for name, table in tables.profiles.items()}
        self._defaults = self._read_table(tables.defaults, extends=False)

    def profiles(self) -> dict[str, Profile]:
        """Return every profile, and the one called default, which need not stand in a file."""
        for name in self._tables.profiles:
            self._check_chain(name)
        return {name: self._profile(name) for name in dict.fromkeys((_DEFAULT, *self._tables.profiles))}

    # -- tables

    def _read_table(self, table: Table, *, extends: bool = True) -> dict[str, tuple[Any, Value]]:
        read: dict[str, tuple[Any, Value]] = {}
        structure = schema.STRUCTURE if extends else schema.STRUCTURE[1:]
        for name, value in table.items():
            if name in schema.KEYS:
                made = self._complaints.read(value, schema.KEYS[name].read)
                if made is not None or name == "alpn":
                    read[name] = made, value
            elif name == "validation":
                if (validation := self._validation(value)) is not None:
                    read[name] = validation, value
            elif name not in structure:
                hint = nearest(name, [*schema.KEYS, *structure])
                hint = hint if hint.startswith("did") else "docs/administrators/policy.md has them all"
                self._complaints.add(value.origin, value.key, "there is no such key", hint)
        if (wanted := table.get("import")) is None:
            return read
        weaker = {name: made for name, made in read.items() if _strength(made[1]) < _strength(wanted)}
        return read | self._imported(wanted) | {name: made for name, made in read.items() if name not in weaker}

    def _validation(self, value: Value) -> Validation | None:
        made = validation_from_table(value.value)
        if isinstance(made, Validation):
            return made
        for complaint in made:
            key = ".".join(filter(None, (value.key, complaint.key)))
            hint = f"did you mean {complaint.suggestion}?" if complaint.suggestion else ""
            self._complaints.add(value.inside(complaint.key), key, complaint.text, hint)
        return None

    def _imported(self, value: Value) -> dict[str, tuple[Any, Value]]:
        if self._complaints.read(value, word(_IMPORTS)) is None:
            return {}
        try:
            found = import_crypto_policies(self._crypto_policies)
        except Wrong as wrong:
            self._complaints.add(value.origin, value.key, wrong.text, wrong.suggestion)
            return {}
        return {name: (made, Value(made, origin, name)) for name, (made, origin) in found.items()}

    # -- chains

    def _check_chain(self, name: str) -> None:
        """Complain about an unknown profile, and about a circle, at the ``extends`` where it stands."""
        seen = [name]
        while (value := self._tables.profiles.get(seen[-1], {}).get("extends")) is not None:
            if (base := self._extended(value, complain=seen[-1] == name)) is None:
                return
            if len(seen) == _DEEPEST:
                self._complaints.add(value.origin, value.key, f"{name} extends more than {_DEEPEST} others, one by one")
                return
            if base in seen:
                if base == name:
                    self._complaints.add(value.origin, value.key, f"a circle: {' extends '.join((*seen, base))}")
                return
            seen.append(base)

    def _extended(self, value: Value, *, complain: bool) -> str | None:
        try:
            if (base := text(value.value)) in self._tables.profiles:
                return base
            raise Wrong(f"there is no profile {base}", nearest(base, self._tables.profiles))
        except Wrong as wrong:
            if complain:
                self._complaints.add(value.origin, value.key, wrong.text, wrong.suggestion)
            return None

    def _chain(self, name: str) -> Iterator[Read]:
        """Give the tables that a profile is made of, the strongest first."""
        seen: set[str] = set()
        while name in self._read and name not in seen and len(seen) <= _DEEPEST:
            seen.add(name)
            yield self._read[name]
            extends = self._tables.profiles[name].get("extends")
            name = extends.value if extends is not None and isinstance(extends.value, str) else ""
        yield self._defaults

    # -- profiles

    def _profile(self, name: str) -> Profile:
        found: dict[str, tuple[Any, Value]] = {}
        for read in self._chain(name):
            found = {**read, **found}
        values = {key: made for key, (made, _) in found.items()}
        built_in = Profile()
        new, old = (tuple(c for c in built_in.ciphers if is_tls_1_3(c) is wanted) for wanted in (True, False))
        values["ciphers"] = (*values.pop("suites", new), *values.get("ciphers", old))
        named = {schema.FIELDS.get(key, key): made for key, made in values.items()}
        origins = {key: value.origin for key, (_, value) in found.items()}
        anchors = self._anchors(found["trust_store"]) if "trust_store" in found else b""
        assert named.keys() <= _FIELDS
        profile = Profile(name=name, origins=origins, trust_anchors_pem=anchors, **named)
        self._check(profile, found)
        return profile

    def _anchors(self, read: tuple[Any, Value]) -> bytes:
        paths, value = read
        try:
            return b"".join(self._trust(path) for path in paths if path != "system")
        except Wrong as wrong:
            self._complaints.add(value.origin, value.key, wrong.text, wrong.suggestion)
            return b""

    def _trust(self, path: str) -> bytes:
        if path not in self._trusted:
            self._trusted[path] = _certificates(Path(path))
        return self._trusted[path]

    # -- contradictions

    def _check(self, profile: Profile, found: Read) -> None:
        if profile.version_min > profile.version_max:
            self._contradiction(profile, found, ("version_min", "version_max"), "version_min is above version_max")
            return
        usable = [name for name in profile.ciphers if fits_level(name, profile.security_level)]
        generations = {is_tls_1_3(name) for name in usable}
        for version, key in ((TLS_1_2, "ciphers"), (TLS_1_3, "suites")):
            if profile.version_min <= version <= profile.version_max and (version == TLS_1_3) not in generations:
                limit = "version_min" if version == TLS_1_2 else "version_max"
                what = f"no cipher is left for TLS {'1.2' if version == TLS_1_2 else '1.3'}"
                keys = (key, limit, "security_level")
                self._contradiction(profile, found, keys, f"{what} at security level {profile.security_level}")

    def _contradiction(self, profile: Profile, found: Read, keys: tuple[str, ...], text: str) -> None:
        """Complain where the strongest of these keys stands: the profile's own rather than what it inherits."""
        values = [found[key][1] for key in keys if key in found]
        own = [value for value in values if value.key.startswith(f"profile.{profile.name}.")]
        if value := next(iter(own or values), None):
            self._complaints.add(value.origin, value.key, f"profile {profile.name}: {text}")
        else:
            self._complaints.add(Origin("built in", 0), keys[0], f"profile {profile.name}: {text}")


def _strength(value: Value) -> int:
    return value.document.strength if value.document else 0


def _certificates(path: Path) -> bytes:
    """Return the certificates of a file or of all files of a directory, PEM.  Raises Wrong."""
    try:
        inside = sorted(file for file in path.iterdir() if file.suffix in {".pem", ".crt"}) if path.is_dir() else [path]
    except OSError as error:
        raise Wrong(f"{path} cannot be listed: {error.strerror}") from None
    if not inside:
        raise Wrong(f"{path} holds no *.pem and no *.crt")
    return b"".join(map(_read_certificates, inside))


def _read_certificates(path: Path) -> bytes:
    content = read_trusted(path)
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise Wrong(f"{path} holds no certificate in PEM form, or a broken one") from None
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in found)

"""Whether a certificate has been revoked: cached answers, the stapled one, responders, lists, in the order given.

The first source that gives an answer decides; an answer is signed by the issuer or by whom the issuer appointed, is
about this certificate, and holds now.  Only a chain that OpenSSL has verified is asked about, since otherwise the peer
itself would have chosen who answers.
"""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ..model import REVOCATION, REVOCATION_SOURCES, Ballot, Case
from ..strategy import Parameter, Problem, Strategy, absolute_path, abstain, accept, failed, in_thread, reject
from . import crl, ocsp
from .answers import Answer, NoAnswer
from .cache import Cache
from .certificates import chain_with_issuers
from .fetch import Bounds, FetchError, fetch
from .responders import Responders

_LISTS_KEPT = 16
_SHA256 = hashes.SHA256()
_Pair = tuple[x509.Certificate, x509.Certificate]
_Lists = list[x509.CertificateRevocationList]


def _is_http(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return text.startswith("http://") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class Revocation(Strategy):
    """Contacts the responders and distribution points that certificates name, over plain http; reads ``crl_files``."""

    name: ClassVar[str] = REVOCATION
    summary: ClassVar[str] = "The peer's certificate must not have been revoked, by the first source that knows."
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "sources": Parameter(
            list,
            tuple(REVOCATION_SOURCES.values()),
            "which sources are asked, in this order",
            among=tuple(REVOCATION_SOURCES.values()),
        ),
        "soft_fail": Parameter(
            bool, False, "whether a peer is accepted of whom no source knows anything; a revoked one never is"
        ),
        "whole_chain": Parameter(
            bool, False, "whether intermediate authorities are asked about too, not the peer's certificate alone"
        ),
        "responder": Parameter(
            str,
            "",
            "OCSP responder to ask instead of those in the certificates; may have any address",
            valid=_is_http,
            rule="an http:// address",
        ),
        "crl_files": Parameter(
            list,
            (),
            "files with lists (PEM or DER), asked before distribution points; read again when they change",
            valid=absolute_path,
            rule="an absolute path",
            file="read",
        ),
        "private_addresses": Parameter(
            bool, False, "whether responders on loopback, link-local and private addresses are asked"
        ),
        "max_ocsp_bytes": Parameter(int, 65_536, "largest OCSP response, bytes", 1024, 1_048_576),
        "max_crl_bytes": Parameter(int, 8_388_608, "largest list, bytes", 1024, 134_217_728),
        "cache_entries": Parameter(int, 4096, "answers kept in each worker", 1, 1_000_000),
    }

    @classmethod
    def check(cls, parameters: Mapping[str, Any]) -> list[Problem]:
        sources = parameters["sources"]
        if not set(sources) - {"cached"}:
            return [Problem("sources", "sources names nobody who could be asked")]
        if parameters["crl_files"] and "crl" not in sources:
            return [Problem("crl_files", "crl_files have no meaning when crl is not among the sources")]
        return []

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._sources: tuple[str, ...] = tuple(parameters["sources"])
        self._soft_fail: bool = parameters["soft_fail"]
        self._whole_chain: bool = parameters["whole_chain"]
        self._files: tuple[str, ...] = tuple(parameters["crl_files"])
        self._responders = Responders.of(parameters)
        self._crl = Bounds(parameters["max_crl_bytes"], parameters["private_addresses"])
        self._answers: Cache[Answer] = Cache(parameters["cache_entries"])
        self._lists: Cache[_Lists] = Cache(_LISTS_KEPT)
        self._read: dict[str, tuple[tuple[int, int], _Lists]] = {}

    async def judge(self, case: Case) -> Ballot:
        if not case.presented:
            return reject("the peer presented no certificate")
        pairs = chain_with_issuers(case)
        if not pairs:
            if case.verified:
                return abstain("the peer's certificate is a trust anchor itself, which nobody revokes")
            return failed("OpenSSL has not verified the chain, so it is unknown who could speak for it")
        promised = "stapled" in self._sources and ocsp.must_staple(pairs[0][0])
        if promised and case.stapled is None:
            return reject("the certificate promises a stapled answer (RFC 7633), and none came")
        sources: list[str] = []
        unknown: dict[int, str] = {}
        for depth, pair in enumerate(pairs if self._whole_chain else pairs[:1]):
            try:
                answer = await self._ask(pair, case, stapled=depth == 0)
            except NoAnswer as none:  # of the others somebody may know the worst
                unknown[depth] = f"nobody knows whether the certificate{_at(depth)} is revoked: {none}"
                continue
            if answer.revoked:
                return reject(f"the certificate{_at(depth)} was {answer.detail} ({answer.source})")
            sources.append(answer.source)
        if 0 in unknown and promised:  # who can keep answers away would need nothing but an old one
            return reject(f"the certificate promises a stapled answer (RFC 7633), and {unknown[0]}")
        if unknown:
            reason = next(iter(unknown.values()))
            return accept(f"{reason} (soft fail)") if self._soft_fail else failed(reason)
        return accept(f"not revoked ({', '.join(dict.fromkeys(sources))})")

    async def _ask(self, pair: _Pair, case: Case, *, stapled: bool) -> Answer:
        """Return the first answer.  Raises NoAnswer with what each source said."""
        key = (pair[0].fingerprint(_SHA256), pair[1].fingerprint(_SHA256))
        said: list[str] = []
        for source in self._sources:
            try:
                if source == "cached":
                    return self._cached(key, case.now)
                if source == "stapled":
                    answer = _stapled(pair, case, stapled=stapled)
                elif source == "ocsp":
                    answer, _ = await self._responders.ask(*pair, case.now)
                else:
                    answer = await self._from_lists(pair, case.now)
            except NoAnswer as none:
                said.append(f"{source}: {none}")
                continue
            self._answers.keep(key, answer, answer.until, case.now)
            return answer
        raise NoAnswer("; ".join(said))

    def _cached(self, key: Hashable, now: datetime.datetime) -> Answer:
        if (kept := self._answers.get(key, now)) is None:
            raise NoAnswer("nothing kept")
        return kept

    async def _from_lists(self, pair: _Pair, now: datetime.datetime) -> Answer:
        said = []
        for path in self._files:
            try:
                lists = await in_thread(self._from_file, path)
                return await in_thread(crl.read, lists, *pair, now, f"CRL {path}")
            except NoAnswer as none:
                said.append(f"{path}: {none}")
        for address in crl.distribution_points(pair[0]):
            try:
                return await self._from_distribution_point(address, pair, now)
            except (FetchError, NoAnswer) as none:
                said.append(str(none))
        raise NoAnswer(", ".join(said) or "the certificate names no list")

    def _from_file(self, path: str) -> _Lists:
        try:
            found = Path(path).stat()
            version = (found.st_mtime_ns, found.st_size)
            if path not in self._read or self._read[path][0] != version:
                if found.st_size > self._crl.max_bytes:
                    raise NoAnswer(f"larger than {self._crl.max_bytes} bytes")
                self._read[path] = (version, crl.load(Path(path).read_bytes()))
        except OSError as error:
            raise NoAnswer(error.strerror or str(error)) from None
        return self._read[path][1]

    async def _from_distribution_point(self, address: str, pair: _Pair, now: datetime.datetime) -> Answer:
        lists = self._lists.get(address, now) if "cached" in self._sources else None
        if lists is None:
            content = await fetch(address, self._crl)
            lists = await in_thread(crl.load, content)
        answer = await in_thread(crl.read, lists, *pair, now, "CRL")
        self._lists.keep(address, lists, answer.until, now)
        return answer


def _stapled(pair: _Pair, case: Case, *, stapled: bool) -> Answer:
    if not stapled:
        raise NoAnswer("it is about the peer's own certificate only")
    if case.stapled is None:
        raise NoAnswer("the peer sent none")
    return ocsp.read(case.stapled, *pair, case.now, "stapled OCSP")


def _at(depth: int) -> str:
    return f" of its authority at depth {depth}" if depth else ""

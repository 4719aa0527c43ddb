"""One secure socket: what the application asked for, where it stands, and what it may know.

Pure.  The daemon feeds it requests and outcomes; it answers with values or raises SsaError.  Whatever fails is
remembered as TLS_ERROR.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..abi import OPTIONS, Opt, Option, Phase
from ..errors import ApplicationError, SsaError
from ..policy.model import Profile, Request
from ..policy.resolve import (
    check_cipher,
    check_peer_auth,
    check_protocols,
    check_revocation,
    check_session,
    check_staple,
    check_version,
    is_checked,
)
from ..tls.negotiated import Negotiated
from .credentials import Credentials, Find, no_names
from .states import Event, State, step
from .values import Value, parse, serialize

_REVOCATION = frozenset(
    {
        Opt.TLS_REVOCATION_CHECKS,
        Opt.TLS_OCSP_STAPLED_CHECKS,
        Opt.TLS_OCSP_CHECKS,
        Opt.TLS_CRL_CHECKS,
        Opt.TLS_CACHED_REV_CHECKS,
    }
)
_FROM_HANDSHAKE: dict[Opt, Callable[[Negotiated], Value | None]] = {
    Opt.TLS_ALPN: lambda agreed: agreed.alpn,
    Opt.TLS_HOSTNAME: lambda agreed: agreed.server_name,
    Opt.TLS_PEER_IDENTITY: lambda agreed: agreed.peer_identity,
    Opt.TLS_PEER_CERTIFICATE_CHAIN: lambda agreed: agreed.peer_chain_pem,
    Opt.TLS_CHOSEN_CIPHER: lambda agreed: agreed.cipher,
    Opt.TLS_RESUMED_SESSION: lambda agreed: int(agreed.resumed),
    Opt.TLS_VERSION_CONN: lambda agreed: agreed.version,
    Opt.TLS_CHOSEN_GROUP: lambda agreed: agreed.group,
}


class SecureSocket:
    """The state machine of one socket; ``number`` is its TLS_ID."""

    def __init__(self, number: int, profile: Profile, find: Find = no_names) -> None:
        """``find`` gives what a name of the policy's keys stands for."""
        self.state = State.OPEN
        self.negotiated: Negotiated | None = None
        self.error_text = ""
        self.context = number
        """the TLS_CONTEXT that this socket belongs to: its own number, or another's"""
        self.number = number
        self.profile = profile
        self._values: dict[Opt, Value] = {}
        self._credentials = Credentials(find)
        self._disabled: set[str] = set()
        self._server_names: list[str] = []
        self._pending_errno = 0
        self.end_errno = 0
        """what an end of file after the connection broke must be"""

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Keep the text of whatever fails inside for TLS_ERROR."""
        try:
            yield
        except SsaError as error:
            self.error_text = error.text
            raise

    # -- options

    def set_option(self, number: int, data: bytes) -> None:
        """Take one option.  Errors: ENOPROTOOPT, EOPNOTSUPP (wrong phase), EBADFD, EINVAL, EPROTO (profile)."""
        row = _row(number)
        self._check_phase(row, row.set)
        self._take(row.number, parse(row.kind, data))

    def _take(self, option: Opt, value: Value) -> None:
        """Keep a value, if the policy lets it be."""
        match option, value:
            case ((Opt.TLS_VERSION_MIN | Opt.TLS_VERSION_MAX), int()):
                check_version(self.profile, value)
            case ((Opt.TLS_DISABLE_CIPHER | Opt.TLS_ENABLE_CIPHER), str()):
                enable = option is Opt.TLS_ENABLE_CIPHER
                check_cipher(self.profile, value, enable=enable)
                (self._disabled.discard if enable else self._disabled.add)(value)
            case ((Opt.TLS_SESSION_REUSE | Opt.TLS_SESSION_TTL), int()):
                check_session(self.profile, option, value)
            case Opt.TLS_ALPN, tuple():
                check_protocols(self.profile, value)
            case Opt.TLS_REQUEST_PEER_AUTH, int():
                check_peer_auth(self.profile, value)
            case Opt.TLS_SERVER_OCSP_STAPLING, int():
                check_staple(self.profile, value)
            case _, int() if option in _REVOCATION:
                check_revocation(self.profile, option, value)
            case Opt.TLS_CERTIFICATE_CHAIN, (bytes() | str()):
                self._credentials.add_chain(value)
            case Opt.TLS_PRIVATE_KEY, (bytes() | str()):
                self._credentials.add_key(value)
                return  # it is in one place only
            case Opt.TLS_HOSTNAME, str():
                self._server_names.append(value)
            case Opt.TLS_CONTEXT, int():
                self.context = value
                return
        self._values[option] = value

    def get_option(self, number: int) -> bytes:
        """Give one option.  Errors: ENOPROTOOPT (unknown or set-only), ENOTCONN (not known yet)."""
        row = _row(number)
        if row.get is None:
            raise ApplicationError(f"{row.number.name} cannot be read", errno.ENOPROTOOPT)
        value = self._known(row)
        if value is None:
            raise ApplicationError(f"{row.number.name} is not known yet", errno.ENOTCONN)
        return serialize(row.kind, value)

    def forget(self, number: Opt) -> None:
        """Take back an option that turned out to be unusable."""
        self._values.pop(number, None)

    def default_hostname(self, name: bytes) -> None:
        """Take the name that the application connects to, unless it has set another.  Raises ApplicationError."""
        if Opt.TLS_REMOTE_HOSTNAME not in self._values:
            self.set_option(Opt.TLS_REMOTE_HOSTNAME, name)

    def check_context(self, data: bytes) -> int:
        """Return the handle in a TLS_CONTEXT that is to be set.  Errors as of set_option."""
        row = OPTIONS[Opt.TLS_CONTEXT]
        self._check_phase(row, row.set)
        handle = parse(row.kind, data)
        assert isinstance(handle, int)
        return handle

    @property
    def has_credentials(self) -> bool:
        """Whether the application gave or named a certificate or a key."""
        return not self._credentials.is_empty

    @property
    def has_names(self) -> bool:
        """Whether it has certificates or keys of the policy."""
        return self._credentials.has_names

    @property
    def context_is_own(self) -> bool:
        """Whether TLS_CONTEXT is this socket's own handle."""
        return self.context == self.number

    def request(self, hostname: str | None = None, *, with_identities: bool = True) -> Request:
        """Return what the application asked for, for the policy to resolve; ``hostname`` stands in for an unset one.

        Raises PolicyError when keys and certificates do not go together; ``with_identities`` False: they do not matter.
        """
        pick = self._values.get
        return Request(
            hostname=pick(Opt.TLS_REMOTE_HOSTNAME, hostname),  # type: ignore[arg-type]  # the table's kinds say the types
            anchors_pem=pick(Opt.TLS_TRUSTED_PEER_CERTIFICATES),  # type: ignore[arg-type]
            alpn=pick(Opt.TLS_ALPN, ()),  # type: ignore[arg-type]
            version_min=pick(Opt.TLS_VERSION_MIN),  # type: ignore[arg-type]
            version_max=pick(Opt.TLS_VERSION_MAX),  # type: ignore[arg-type]
            identities=self._credentials.identities() if with_identities else (),
            server_names=tuple(self._server_names),
            request_peer_auth=bool(pick(Opt.TLS_REQUEST_PEER_AUTH)),
            disabled_ciphers=frozenset(self._disabled),
            session_reuse=bool(pick(Opt.TLS_SESSION_REUSE)),
            session_ttl_s=pick(Opt.TLS_SESSION_TTL),  # type: ignore[arg-type]
            revocation=frozenset(option for option in _REVOCATION if pick(option)),
            staple=bool(pick(Opt.TLS_SERVER_OCSP_STAPLING)),
        )

    def _check_phase(self, row: Option, allowed: Phase | None) -> None:
        if allowed is None:
            raise ApplicationError(f"{row.number.name} cannot be set", errno.ENOPROTOOPT)
        if self.state is State.FAILED:
            raise ApplicationError("the handshake failed; close this socket and open another", errno.EBADFD)
        phase = Phase.BEFORE if self.state is State.OPEN else Phase.AFTER
        if phase not in allowed:
            raise ApplicationError(f"{row.number.name} cannot be set in this phase", errno.EOPNOTSUPP)

    def _known(self, row: Option) -> Value | None:
        option = row.number
        if self.negotiated is not None and option in _FROM_HANDSHAKE:
            return _FROM_HANDSHAKE[option](self.negotiated)
        match option:
            case Opt.TLS_ERROR:
                return self.error_text
            case Opt.TLS_ID:
                return self.number
            case Opt.TLS_CONTEXT:
                return self.context
            case Opt.TLS_TRUSTED_CIPHERS:
                return ":".join(name for name in self.profile.ciphers if name not in self._disabled)
        return self._values.get(option, self._default(option))

    def _default(self, option: Opt) -> Value | None:
        """What holds when the application has said nothing."""
        match option:
            case Opt.TLS_VERSION_MIN:
                return self.profile.version_min
            case Opt.TLS_VERSION_MAX:
                return self.profile.version_max
            case Opt.TLS_SESSION_TTL:
                return self.profile.session_ttl_s
            case Opt.TLS_SESSION_REUSE | Opt.TLS_REQUEST_PEER_AUTH:
                return 0
            case Opt.TLS_SERVER_OCSP_STAPLING:
                return int(self.profile.staple)
        return int(is_checked(self.profile, option)) if option in _REVOCATION else None

    # -- life

    def check(self, event: Event) -> None:
        """Raise the refusal of ``event``, or change nothing."""
        step(self.state, event)

    def happen(self, event: Event) -> None:
        """Go one step, or raise the refusal."""
        self.state = step(self.state, event)

    @classmethod
    def accepted(cls, number: int, listener: SecureSocket, agreed: Negotiated) -> SecureSocket:
        """Return the socket of a peer that a listener took in: its options, and no keys."""
        made = cls(number, listener.profile)
        made.state = State.CONNECTED
        made.negotiated = agreed
        made.context = listener.context
        made._values = dict(listener._values)
        made._disabled = set(listener._disabled)
        return made

    def established(self, agreed: Negotiated) -> None:
        """The handshake and all validation succeeded."""
        self.happen(Event.ESTABLISHED)
        self.negotiated = agreed

    def broken(self, error: SsaError) -> None:
        """The connect failed, or the established connection did."""
        self.error_text = error.text
        if self.state is not State.CONNECTING:  # a waiting caller is told by the call itself
            self._pending_errno = error.errno
        if self.state is State.CONNECTED:
            self.end_errno = errno.ECONNRESET
        else:
            self.happen(Event.BROKEN)

    def take_pending_errno(self) -> int:
        """SO_ERROR: give the errno of what failed in the background, once; ENOTCONN when there is no connection at all.

        A signal may break off a connect before anybody has seen it.  Whoever then polls and asks for SO_ERROR, as after
        EINTR one must, would take 0 for success.
        """
        if self.state is State.OPEN:
            return errno.ENOTCONN
        pending, self._pending_errno = self._pending_errno, 0
        return pending


def _row(number: int) -> Option:
    try:
        return OPTIONS[Opt(number)]
    except (ValueError, KeyError):
        raise ApplicationError(f"no TLS option has the number {number}", errno.ENOPROTOOPT) from None

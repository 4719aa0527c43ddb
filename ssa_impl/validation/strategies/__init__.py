"""The strategies that come with the SSA, by name.  Each is one class; what it contacts or reads, its docstring says."""

from __future__ import annotations

from ..strategy import Strategy
from .allow_list import AllowList
from .external import ExternalEngine
from .pinning import Pinning
from .revocation import Revocation
from .trust_store import TrustStoreAndHostname
from .webpki import WebPki

BUILT_IN: dict[str, type[Strategy]] = {
    plugin.name: plugin for plugin in (TrustStoreAndHostname, Pinning, AllowList, Revocation, WebPki, ExternalEngine)
}

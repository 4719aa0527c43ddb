"""A remote file's URL, taken apart (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class FileUrl:
    """Where one file is."""

    host: str  # as written: name or IP literal, without brackets
    port: int
    path: str  # origin form, with the query


def parse_url(url: str) -> FileUrl:
    """Take ``https://host[:port]/file`` apart; ValueError says what is wrong and what to write."""
    hint = "write https://host[:port]/file"
    try:
        parts = urlsplit(url)
        port = parts.port if parts.port is not None else 443
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL ({error}); {hint}") from error
    if parts.scheme != "https":
        raise ValueError(f"{url!r} is not an https URL; {hint}")
    if not parts.hostname or parts.username is not None or port == 0:
        raise ValueError(f"{url!r} has no usable host; {hint}")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if not parts.path.startswith("/") or not _is_visible_ascii(path):
        raise ValueError(f"{url!r} names no file; {hint}")
    return FileUrl(parts.hostname, port, path)


def _is_visible_ascii(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)

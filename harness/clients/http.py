"""HTTP/1.1 as far as one download needs it, without I/O: bytes in, events out.

Both stacks send :func:`request` and read with :class:`Response`, so that they differ in nothing but how they
reach TLS.  The response lands in one preallocated, already touched buffer: reading costs neither allocation
nor page faults.
"""

from __future__ import annotations

HEADER_LIMIT_BYTES = 16_384


class ResponseError(Exception):
    """The server's answer is not the one file that was asked for; the text says in which way."""


def request(server_name: str, port: int, path: str) -> bytes:
    """The whole request (RFC 9112): the same bytes for both stacks."""
    host = f"[{server_name}]" if ":" in server_name else server_name
    if port != 443:
        host = f"{host}:{port}"
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode("ascii")


class Response:
    """One response with a body of at most ``limit_bytes``.

    Read into :meth:`window`, say how much, until it is complete.
    """

    def __init__(self, limit_bytes: int, read_size_bytes: int) -> None:
        self._view = memoryview(bytearray(HEADER_LIMIT_BYTES + limit_bytes))
        self._limit = limit_bytes
        self._read_size = read_size_bytes
        self._filled = 0
        self._body_at = 0  # 0: the headers have not ended yet
        self._end = HEADER_LIMIT_BYTES

    def window(self) -> memoryview:
        """Where the next bytes belong.

        Never beyond the body's end, never empty before the response is complete.
        """
        return self._view[self._filled : min(self._filled + self._read_size, self._end)]

    def received(self, count: int) -> bool:
        """Take note of ``count`` bytes in the window.

        True when the body is complete.  ResponseError when it cannot be.
        """
        if count == 0:
            raise ResponseError(f"The server ended the connection after {self._progress()}.")
        self._filled += count
        if not self._body_at:
            self._parse()
        return bool(self._body_at) and self._filled == self._end

    @property
    def body(self) -> memoryview:
        """What has come of the body."""
        return self._view[self._body_at : self._filled] if self._body_at else self._view[:0]

    def _progress(self) -> str:
        if not self._body_at:
            return f"{self._filled} bytes of the headers"
        return f"{self._filled - self._body_at} of {self._end - self._body_at} bytes of the body"

    def _parse(self) -> None:
        end = bytes(self._view[: min(self._filled, HEADER_LIMIT_BYTES)]).find(b"\r\n\r\n")
        if end >= 0:
            length = _content_length(bytes(self._view[:end]))
            if length > self._limit:
                raise ResponseError(f"The server's file has {length} bytes, the plan says {self._limit}.")
            self._body_at = end + 4
            self._end = self._body_at + length
            if self._filled > self._end:
                raise ResponseError("The server sent more than its Content-Length says.")
        elif self._filled >= HEADER_LIMIT_BYTES:
            raise ResponseError(f"The server's headers are longer than {HEADER_LIMIT_BYTES} bytes.")


def _content_length(head: bytes) -> int:
    lines = head.decode("latin-1").split("\r\n")
    version, _, status = lines[0].partition(" ")
    if not version.startswith("HTTP/1."):
        raise ResponseError("The server did not answer in HTTP/1.")
    if status[:3] != "200":
        raise ResponseError(f"The server answered {status.strip() or 'without a status'} instead of 200.")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if "transfer-encoding" in fields or not _is_number(fields.get("content-length", "")):
        raise ResponseError("The server's answer has no Content-Length: a file of known size is needed.")
    return int(fields["content-length"])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()

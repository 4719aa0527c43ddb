import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clients.http import HEADER_LIMIT_BYTES, Response, ResponseError, request

HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"


def feed(response: Response, data: bytes, sizes: list[int] | None = None) -> bool:
    """Give ``data`` in pieces of these sizes (then in windows); true when complete."""
    wanted, complete = list(sizes or []), False
    while data and not complete:
        window = response.window()
        assert len(window) > 0
        count = min(len(window), len(data), wanted.pop(0) if wanted else len(window))
        window[:count] = data[:count]
        data = data[count:]
        complete = response.received(count)
    assert not data
    return complete


@given(st.binary(max_size=2000), st.lists(st.integers(1, 50), max_size=100), st.integers(1, 5000))
def test_a_body_arrives_whole_whatever_the_pieces(body: bytes, sizes: list[int], read_size: int) -> None:
    response = Response(2000, read_size)
    assert feed(response, HEAD % len(body) + body, sizes)
    assert bytes(response.body) == body


@given(st.binary(max_size=300))
def test_any_bytes_are_a_response_or_a_response_error(data: bytes) -> None:
    response = Response(100, 64)
    with pytest.raises(ResponseError, match=r"\.$"):
        raise_unless_complete(response, data)


def raise_unless_complete(response: Response, data: bytes) -> None:
    if feed(response, data) or response.received(0):
        raise ResponseError("It happened to be complete.")


def test_the_window_never_reaches_beyond_the_body() -> None:
    response = Response(10, 4096)
    data = HEAD % 10
    response.window()[: len(data)] = data
    assert not response.received(len(data))
    assert len(response.window()) == 10


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answered 404 Not Found instead of 200"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "no Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "no Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "has 101 bytes, the plan says 100"),
        (b"SSH-2.0-x\r\n\r\n", "did not answer in HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "more than its Content-Length"),
        (b"x" * HEADER_LIMIT_BYTES, "headers are longer than"),
    ],
)
def test_what_is_not_the_file(head: bytes, complaint: str) -> None:
    with pytest.raises(ResponseError, match=complaint):
        feed(Response(100, 1 << 20), head)


@pytest.mark.parametrize(
    ("data", "progress"), [(b"HTTP/1.1 2", "10 bytes of the headers"), (HEAD % 9 + b"abc", "3 of 9 bytes")]
)
def test_an_early_end_says_how_far_it_came(data: bytes, progress: str) -> None:
    response = Response(100, 4096)
    assert not feed(response, data)
    with pytest.raises(ResponseError, match=f"ended the connection after {progress}"):
        response.received(0)


@pytest.mark.parametrize(
    ("name", "port", "host"),
    [("a.test", 8443, b"a.test:8443"), ("a.test", 443, b"a.test"), ("::1", 443, b"[::1]")],
)
def test_the_request(name: str, port: int, host: bytes) -> None:
    assert request(name, port, "/f") == (
        b"GET /f HTTP/1.1\r\nHost: " + host + b"\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )

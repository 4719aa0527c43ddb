"""A client that shares nothing with what it tests: the standard library's ssl and http.client."""

import http.client
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from webservers import SERVER_NAME


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def get(address: str, port: int, path: str, ca: Path, *, name: str = SERVER_NAME, method: str = "GET") -> Answer:
    """One verified request.  ssl.SSLCertVerificationError when the server is not who it should be."""
    context = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection((address, port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        connection = http.client.HTTPConnection(name)
        connection.sock = secure
        connection.request(method, path)
        response = connection.getresponse()
        headers = {key.lower(): value for key, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

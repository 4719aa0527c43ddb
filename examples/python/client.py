"""An HTTPS client: client.py HOST ADDRESS PORT PATH CAFILE."""

import shutil
import socket
import sys

IPPROTO_TLS, TLS_REMOTE_HOSTNAME, TLS_TRUSTED_PEER_CERTIFICATES, TLS_ERROR = 205, 85, 87, 100

host, address, port, path = sys.argv[1:5]
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS) as s:
    try:
        s.setsockopt(IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, sys.argv[5].encode() + b"\0")
        s.setsockopt(IPPROTO_TLS, TLS_REMOTE_HOSTNAME, host.encode() + b"\0")
        s.connect((address, int(port)))
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        with s.makefile("rb") as response:
            status = response.readline()
            if b" 200 " not in status:
                sys.exit(f"client: {status.decode().strip()}")
            while response.readline() not in {b"\r\n", b""}:
                pass
            shutil.copyfileobj(response, sys.stdout.buffer)
    except OSError as error:
        sys.exit(f"client: {error}: {s.getsockopt(IPPROTO_TLS, TLS_ERROR, 1024)[:-1].decode()}")

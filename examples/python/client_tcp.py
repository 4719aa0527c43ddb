"""An HTTP client: client_tcp.py HOST ADDRESS PORT PATH."""

import shutil
import socket
import sys

host, address, port, path = sys.argv[1:5]
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as s:
    try:
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
        sys.exit(f"client: {error}")

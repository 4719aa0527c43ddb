"""An HTTP client that waits in select() only: client_tcp.py HOST ADDRESS PORT PATH."""

import errno
import os
import select
import socket
import sys


def connect(s, address):
    code = s.connect_ex(address)
    if code == errno.EINPROGRESS:
        select.select([], [s], [])
        code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


host, address, port, path = sys.argv[1:5]
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as s:
    s.setblocking(False)
    try:
        connect(s, (address, int(port)))
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        response = bytearray()
        while select.select([s], [], []) and (piece := s.recv(65536)):
            response += piece
    except OSError as error:
        sys.exit(f"client: {error}")
head, _, body = response.partition(b"\r\n\r\n")
status = head.partition(b"\r\n")[0]
if b" 200 " not in status:
    sys.exit(f"client: {status.decode()}")
sys.stdout.buffer.write(body)

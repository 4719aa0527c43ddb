"""An HTTPS client that waits in select() only: client.py HOST ADDRESS PORT PATH CAFILE."""

import errno
import os
import select
import socket
import sys

IPPROTO_TLS, TLS_REMOTE_HOSTNAME, TLS_TRUSTED_PEER_CERTIFICATES, TLS_ERROR = 205, 85, 87, 100


def connect(s, address):
    code = s.connect_ex(address)
    if code == errno.EINPROGRESS:
        select.select([], [s], [])
        code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


host, address, port, path = sys.argv[1:5]
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS) as s:
    s.setblocking(False)
    try:
        s.setsockopt(IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, sys.argv[5].encode() + b"\0")
        s.setsockopt(IPPROTO_TLS, TLS_REMOTE_HOSTNAME, host.encode() + b"\0")
        connect(s, (address, int(port)))
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        response = bytearray()
        while select.select([s], [], []) and (piece := s.recv(65536)):
            response += piece
    except OSError as error:
        sys.exit(f"client: {error}: {s.getsockopt(IPPROTO_TLS, TLS_ERROR, 1024)[:-1].decode()}")
head, _, body = response.partition(b"\r\n\r\n")
status = head.partition(b"\r\n")[0]
if b" 200 " not in status:
    sys.exit(f"client: {status.decode()}")
sys.stdout.buffer.write(body)

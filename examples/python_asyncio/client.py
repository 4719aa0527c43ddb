"""An HTTPS client on asyncio's sock_* calls: client.py HOST ADDRESS PORT PATH CAFILE."""

import asyncio
import socket
import sys

IPPROTO_TLS, TLS_REMOTE_HOSTNAME, TLS_TRUSTED_PEER_CERTIFICATES, TLS_ERROR = 205, 85, 87, 100


async def fetch(host, address, port, path):
    loop = asyncio.get_running_loop()
    secure = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS)
    # sock_connect() asks the resolver about s.proto, and the resolver knows no TLS
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, secure.detach()) as s:
        s.setblocking(False)
        try:
            s.setsockopt(IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, sys.argv[5].encode() + b"\0")
            s.setsockopt(IPPROTO_TLS, TLS_REMOTE_HOSTNAME, host.encode() + b"\0")
            await loop.sock_connect(s, (address, int(port)))
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            await loop.sock_sendall(s, request.encode())
            response = bytearray()
            while piece := await loop.sock_recv(s, 65536):
                response += piece
        except OSError as error:
            sys.exit(f"client: {error}: {s.getsockopt(IPPROTO_TLS, TLS_ERROR, 1024)[:-1].decode()}")
    return response


response = asyncio.run(fetch(*sys.argv[1:5]))
head, _, body = response.partition(b"\r\n\r\n")
status = head.partition(b"\r\n")[0]
if b" 200 " not in status:
    sys.exit(f"client: {status.decode()}")
sys.stdout.buffer.write(body)

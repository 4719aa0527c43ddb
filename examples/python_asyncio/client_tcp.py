"""An HTTP client on asyncio's sock_* calls: client_tcp.py HOST ADDRESS PORT PATH."""

import asyncio
import socket
import sys


async def fetch(host, address, port, path):
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as s:
        s.setblocking(False)
        try:
            await loop.sock_connect(s, (address, int(port)))
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            await loop.sock_sendall(s, request.encode())
            response = bytearray()
            while piece := await loop.sock_recv(s, 65536):
                response += piece
        except OSError as error:
            sys.exit(f"client: {error}")
    return response


response = asyncio.run(fetch(*sys.argv[1:5]))
head, _, body = response.partition(b"\r\n\r\n")
status = head.partition(b"\r\n")[0]
if b" 200 " not in status:
    sys.exit(f"client: {status.decode()}")
sys.stdout.buffer.write(body)

"""Get a page over HTTPS, as curl would: get.py [--tls-max 1.2|1.3] [--cacert FILE] URL."""

import argparse
import http.client
import shutil
import socket
import sys
import urllib.parse

IPPROTO_TLS = 205
TLS_REMOTE_HOSTNAME, TLS_TRUSTED_PEER_CERTIFICATES, TLS_ERROR, TLS_VERSION_MAX = 85, 87, 100, 112

parser = argparse.ArgumentParser()
parser.add_argument("--tls-max", choices=("1.2", "1.3"))
parser.add_argument("--cacert")
parser.add_argument("url", type=urllib.parse.urlsplit)
wanted = parser.parse_args()

with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS) as s:
    try:
        if wanted.tls_max:
            s.setsockopt(IPPROTO_TLS, TLS_VERSION_MAX, {"1.2": 0x303, "1.3": 0x304}[wanted.tls_max])
        if wanted.cacert:
            s.setsockopt(IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, wanted.cacert.encode() + b"\0")
        s.setsockopt(IPPROTO_TLS, TLS_REMOTE_HOSTNAME, wanted.url.hostname.encode() + b"\0")
        s.connect((wanted.url.hostname, wanted.url.port or 443))
    except OSError as error:
        sys.exit(f"get: {error.strerror}: {s.getsockopt(IPPROTO_TLS, TLS_ERROR, 1024)[:-1].decode()}")
    connection = http.client.HTTPConnection(wanted.url.netloc)
    connection.sock = s
    connection.request("GET", wanted.url.path or "/")
    with connection.getresponse() as response:
        shutil.copyfileobj(response, sys.stdout.buffer)
    sys.exit(response.status >= 400)

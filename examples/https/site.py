"""A web site over HTTPS: site.py PORT.  It has neither a certificate nor a key: the administrator has named them."""

import http.server
import socket
import socketserver
import sys

IPPROTO_TLS, TLS_CHOSEN_CIPHER, TLS_ERROR = 205, 98, 100


class Site(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address):
        super().__init__(address, Page, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS)
        self.server_bind()
        self.server_activate()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        cipher = self.connection.getsockopt(IPPROTO_TLS, TLS_CHOSEN_CIPHER, 100)[:-1].decode()
        body = f"Good day, over {cipher}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


with Site(("127.0.0.1", int(sys.argv[1]))) as site:
    print("serving at port", site.server_address[1], flush=True)
    site.serve_forever()

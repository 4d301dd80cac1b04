"""A web server that says its name: `app.py NAME`. It listens at a socket of that name."""

import http.server
import os
import socketserver
import sys


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):
        request, _ = super().get_request()
        # The handler wants an address to log, which clients of a unix socket have not.
        return request, ("haproxy", 0)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{sys.argv[1]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


path = f"/run/try/{sys.argv[1]}.sock"
if os.path.exists(path):
    os.remove(path)
os.umask(0)
Server(path, Handler).serve_forever()

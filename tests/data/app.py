"""A web server: `app.py PORT [BOOT]` listens after BOOT seconds; `GET /N` answers after N seconds."""

import http.server
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep(float(self.path[1:] or 0))
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0)
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

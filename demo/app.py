"""One of the demo's three web apps: `app.py NAME PORT LOG`. Answers every request with its name.

It does what many servers do: it writes a log of its own, it needs a while before it listens, and at SIGTERM it goes on
answering for a moment, so that requests that are under way come to their end. A report takes longer than that moment.
"""

import datetime
import http.server
import os
import signal
import sys
import threading
import time

WARM_UP_SECONDS = 2.0
FAREWELL_SECONDS = 0.3
REPORT_SECONDS = 1.0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/report":
            time.sleep(REPORT_SECONDS)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{sys.argv[1]}\n".encode())

    def log_message(self, *_):
        """Says nothing: the demo counts requests by itself."""


def tell(what):
    now = datetime.datetime.now(datetime.timezone.utc)
    print(now.isoformat(timespec="milliseconds"), what, flush=True)


def leave(*_):
    tell("finishes its requests")
    threading.Timer(FAREWELL_SECONDS, os._exit, [0]).start()


with open(sys.argv[3], "a") as log:
    os.dup2(log.fileno(), sys.stdout.fileno())
    os.dup2(log.fileno(), sys.stderr.fileno())
signal.signal(signal.SIGTERM, leave)
time.sleep(WARM_UP_SECONDS)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
tell("listens")
server.serve_forever()

"""Those who use the web apps: they send requests through HAProxy and count the answers."""

import collections
import concurrent.futures
import http.client
import threading
import time

from stage import WEBS

REQUEST_EVERY_SECONDS = 0.05
# Those that wait for an app that hangs must not keep others from being sent.
AT_ONCE = 50
# Longer than HAProxy gives a server: it is HAProxy that says 504, not we who hang up.
ANSWER_SECONDS = 10.0
# Visitors of a crowd.
CROWD = 12


class Visitor(threading.Thread):
    """Sends a request every now and then, in the background, whether those before were answered or not."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.counts = collections.Counter()
        self.sent = 0
        self.lock = threading.Lock()
        self.ended = False

    def run(self):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as requests:
            while not self.ended:
                requests.submit(self._count_one)
                self.sent += 1
                time.sleep(REQUEST_EVERY_SECONDS)

    def end(self):
        self.ended = True
        self.join()

    def counted(self):
        """How many requests ended how so far, by ("answered", "web1") or ("failed", "status 503")."""
        with self.lock:
            return self.counts.copy()

    def waiting(self):
        """How many requests have no end yet."""
        return max(0, self.sent - sum(self.counted().values()))

    def _count_one(self):
        outcome = request(self.port, "/")
        with self.lock:
            self.counts[outcome] += 1


class Crowd:
    """Several visitors at the same time, in the background: each sends a request when the one before has ended. Half of
    them ask for the report, which takes long; the others for the front page."""

    def __init__(self, port):
        self.port = port
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.visitors = concurrent.futures.ThreadPoolExecutor(CROWD)

    def __enter__(self):
        for number in range(CROWD):
            self.visitors.submit(self._visit, "/report" if number % 2 else "/")
        return self

    def __exit__(self, *_):
        """Waits until the last request has ended; from then on the counts are all there are."""
        self.ended.set()
        self.visitors.shutdown()

    def _visit(self, path):
        counts = collections.Counter()
        while not self.ended.wait(REQUEST_EVERY_SECONDS):
            counts[request(self.port, path)] += 1
        with self.lock:
            self.counts += counts


def request(port, path):
    """One request on a connection of its own: ("answered", the app's name) or ("failed", how)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        return "failed", "no connection"
    finally:
        connection.close()
    if response.status != 200:
        return "failed", f"status {response.status}"
    # The app closes the connection behind its name: that an answer is whole, only the name can tell.
    return ("answered", body) if body in WEBS else ("failed", "half an answer")


def describe(counts):
    """As in `31 answered (web1 10, web2 11, web3 10), 1 failed (status 504: 1)`."""

    def part(kind, separator):
        found = sorted((how, count) for (of_kind, how), count in counts.items() if of_kind == kind and count)
        total = sum(count for _, count in found)
        details = ", ".join(f"{how}{separator}{count}" for how, count in found)
        return f"{total} {kind} ({details})" if found else f"0 {kind}"

    return f"{part('answered', ' ')}, {part('failed', ': ')}"

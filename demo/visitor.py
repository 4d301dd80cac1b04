"""Somebody who uses the web apps all the time: sends requests through HAProxy and counts the answers."""

import collections
import concurrent.futures
import http.client
import threading
import time

REQUEST_EVERY_SECONDS = 0.05
# Those that wait for an app that hangs must not keep others from being sent.
AT_ONCE = 50
# Longer than HAProxy gives a server: it is HAProxy that says 504, not we who hang up.
ANSWER_SECONDS = 10.0


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
        outcome = self._request()
        with self.lock:
            self.counts[outcome] += 1

    def _request(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            body = response.read().decode(errors="replace").strip()
        except (OSError, http.client.HTTPException):
            return "failed", "no connection"
        finally:
            connection.close()
        return ("answered", body) if response.status == 200 else ("failed", f"status {response.status}")


def describe(counts):
    """As in `31 answered (web1 10, web2 11, web3 10), 1 failed (status 504: 1)`."""

    def part(kind, separator):
        found = sorted((how, count) for (of_kind, how), count in counts.items() if of_kind == kind and count)
        total = sum(count for _, count in found)
        details = ", ".join(f"{how}{separator}{count}" for how, count in found)
        return f"{total} {kind} ({details})" if found else f"0 {kind}"

    return f"{part('answered', ' ')}, {part('failed', ': ')}"

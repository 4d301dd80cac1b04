"""What happened when: the server states that HAProxy shows and the lines of all logs, in one list of events.

This owns the looking and the times; what is expected to happen lives in demo.py. A change of HAProxy's is as old as
the answer that showed it first: HAProxy is asked every few milliseconds. A log line is as old as it says itself.
"""

import csv
import datetime
import re
import socket
import threading
import time
from dataclasses import dataclass

LOOK_EVERY_SECONDS = 0.005
# After a deed there is something to see soon: no pause between two looks for this long.
HURRY_SECONDS = 0.2
# An answer takes under a millisecond; a HAProxy that hangs must not hang the demo.
ANSWER_SECONDS = 2.0
SILENT = "no answer"

# How supervisord's log tells of its states; the rest of the line is a detail, or empty.
SUPERVISORD_STATES = {
    "STARTING": re.compile(r"spawned: '(\S+)'(.*)"),
    "RUNNING": re.compile(r"success: (\S+) entered RUNNING state(.*)"),
    "STOPPING": re.compile(r"waiting for (\S+) to stop()"),
    "EXITED": re.compile(r"exited: (\S+) (.*)"),
    "STOPPED": re.compile(r"stopped: (\S+) (.*)"),
    "FATAL": re.compile(r"gave up: (\S+) entered FATAL state(.*)"),
}


@dataclass(frozen=True)
class Event:
    """Something that was seen. `state` is HAProxy's or supervisord's word for what `subject` is from now on."""

    time: float
    source: str
    text: str
    subject: str = ""
    state: str = ""


def server_states(admin_socket):
    """What `show stat` says of each server of backend `app`, as in {"web1": "UP"}. OSError where it says nothing."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(ANSWER_SECONDS)
        peer.connect(str(admin_socket))
        peer.sendall(b"show stat\n")
        reply = b"".join(iter(lambda: peer.recv(65536), b"")).decode()
    # An empty line ends a whole answer: a HAProxy that is killed meanwhile leaves half of one.
    if not reply.endswith("\n\n"):
        raise ConnectionError("HAProxy's answer has no end")
    rows = csv.DictReader(reply.lstrip("# ").splitlines())
    servers = [row for row in rows if row["pxname"] == "app" and row["type"] == "2"]
    # `UP 1/2` is an UP that has failed a check.
    return {row["svname"]: row["status"].split()[0] for row in servers}


def supervisord_event(line):
    """Reads `2026-01-31 12:00:00,123 INFO spawned: 'web1' with pid 7`; None where no program changes."""
    words = re.match(r"(\S+ \S+),(\d{3}) [A-Z]+ (.*)", line)
    if not words:
        return None
    moment = datetime.datetime.strptime(words[1], "%Y-%m-%d %H:%M:%S").timestamp() + int(words[2]) / 1000
    for state, pattern in SUPERVISORD_STATES.items():
        told = pattern.match(words[3])
        if told:
            # Not the pid, nor that "process has stayed up for": more to read, and nothing to learn.
            detail = re.sub(r"^( with pid|, ).*", "", told[2])
            return Event(moment, "supervisord", f"{told[1]} {state}{detail and ' ' + detail.strip()}", told[1], state)
    return None


def plain_event(source):
    """A reader of lines that begin with a time of ISO 8601, as the listener and the apps write them."""

    def read(line):
        words = re.match(r"(\d{4}-\S+T\S+?)(?:Z|\+00:00) (?:(\w+): (?:haproxy \S+: )?)?(.*)", line)
        if not words:
            return None
        moment = datetime.datetime.fromisoformat(words[1] + "+00:00").timestamp()
        return Event(moment, source, f"{'warning: ' if words[2] == 'warn' else ''}{words[3]}")

    return read


class Log:
    """A growing file. It need not exist yet."""

    def __init__(self, path, read):
        self.path, self.read = path, read
        self.offset, self.rest = 0, b""

    def new_events(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self.offset += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [event for event in (self.read(line.decode(errors="replace")) for line in lines) if event]


class Timeline(threading.Thread):
    """Looks all the time, in the background, and remembers."""

    def __init__(self, admin_socket, logs):
        super().__init__(daemon=True)
        self.admin_socket, self.logs = admin_socket, logs
        self.servers = {}
        self.events = []
        self.unshown = []
        self.changed = threading.Condition()
        self.hurry_until = 0.0
        self.ended = False

    def run(self):
        while not self.ended:
            found = self._look_at_haproxy()
            for log in self.logs:
                found += log.new_events()
            for event in found:
                self.add(event)
            time.sleep(0 if time.time() < self.hurry_until else LOOK_EVERY_SECONDS)

    def hurry(self):
        """Looks without a pause for a moment."""
        self.hurry_until = time.time() + HURRY_SECONDS

    def end(self):
        self.ended = True
        self.join()

    def add(self, event):
        with self.changed:
            self.events.append(event)
            self.unshown.append(event)
            self.changed.notify_all()

    def wait(self, wanted, since, seconds):
        """The first event at or after `since` that is `wanted`; None if there is none within `seconds`."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while True:
                found = [event for event in self.events if event.time >= since and wanted(event)]
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return min(found, key=lambda event: event.time, default=None)
                self.changed.wait(left)

    def take_unshown(self, before):
        """Events up to a moment, each once, in the order of their times."""
        with self.changed:
            due = sorted((event for event in self.unshown if event.time < before), key=lambda event: event.time)
            self.unshown = [event for event in self.unshown if event.time >= before]
        return due

    def _look_at_haproxy(self):
        try:
            servers = server_states(self.admin_socket)
        except OSError:
            servers = {}
        before, self.servers = self.servers, servers
        now = time.time()
        if before and not servers:
            return [Event(now, "HAProxy", SILENT, state=SILENT)]
        changes = [(name, before.get(name), state) for name, state in servers.items() if state != before.get(name)]
        return [
            Event(now, "HAProxy", f"{name} {was} -> {state}" if was else f"{name} {state}", name, state)
            for name, was, state in changes
        ]

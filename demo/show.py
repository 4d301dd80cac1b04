"""How a scene is played: its deed, what is then expected, what is shown of it, and what goes into the summary.

The scenes themselves are in scenes.py.
"""

import concurrent.futures
import contextlib
import math
import re
import time

import screen
from stage import WEBS
from timeline import SILENT, Event, Log, Timeline, plain_event, supervisord_event
from visitor import Visitor, describe

# For everything that is expected. A machine that is idle needs 5 s at most.
DEADLINE_SECONDS = 60
# The listener looks at HAProxy every second and then reports what has changed; a scene waits for that if it can.
REPORT_SECONDS = 2.5
# Log lines reach their files through supervisord: they are shown a little later, so that they come in order.
SHOW_AFTER_SECONDS = 0.15
# What happens to several servers within this time is shown as one.
TOGETHER_SECONDS = 0.02
# supervisord's words for a listener that ended without being asked to.
FAULTS = ("EXITED", "FATAL")

SERVER_NAME = re.compile(r"(`?(?:app/)?)\b(web\d)\b(`?)")


class Failed(Exception):
    """Something that was expected did not come."""


def haproxy_shows(name, *states):
    return lambda event: event.source == "HAProxy" and event.subject == name and event.state in states


def supervisord_says(name, state):
    return lambda event: event.source == "supervisord" and event.subject == name and event.state == state


def listener_says(pattern):
    return lambda event: event.source == "listener" and re.search(pattern, event.text)


class Show:
    """What all scenes share."""

    def __init__(self, stage):
        self.stage = stage
        logs = [Log(stage.path("supervisord.log"), supervisord_event)]
        logs.append(Log(stage.path("listener.log"), plain_event("listener")))
        logs += [Log(stage.path(f"{name}.log"), plain_event(name)) for name in WEBS]
        self.timeline = Timeline(stage.path("admin.sock"), logs)
        self.visitor = Visitor(stage.www)
        self.background = concurrent.futures.ThreadPoolExecutor(1)
        self.findings = []
        # What restarting all apps has cost their users: (how, requests, failed).
        self.restarts = []
        self.scene = 0

    def close(self):
        self.visitor.ended = True
        if self.timeline.is_alive():
            self.timeline.end()

    def wait(self, what, wanted, since, meanwhile):
        """The first event from `since` on that is wanted. `meanwhile` is called several times a second."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            event = self.timeline.wait(wanted, since, SHOW_AFTER_SECONDS)
            meanwhile()
            fault = self.stage.fault() or self._fault_of_listener()
            if event:
                return event
            if fault:
                raise Failed(f"expected: {what}\nseen: {fault}")
        raise Failed(f"expected within {DEADLINE_SECONDS} s: {what}\nseen: HAProxy: {self.timeline.servers or SILENT}")

    def _fault_of_listener(self):
        ended = [event for event in self.timeline.events if event.subject == "haproxy" and event.state in FAULTS]
        return f"supervisord says of the listener: {ended[0].text}" if ended else None

    @contextlib.contextmanager
    def play(self, title, explanation):
        """One scene: its heading, whatever happens within, and how all servers are in the end."""
        self.scene += 1
        screen.heading(self.scene, title)
        screen.paragraph(explanation, screen.DIM)
        # What happened between two scenes belongs to none.
        self.timeline.take_unshown(time.time())
        scene = Scene(self, title)
        yield scene
        scene.show_the_end()


class Scene:
    """One scene of the show. Times count from `act`."""

    def __init__(self, show, title):
        self.show, self.title = show, title
        self.timeline = show.timeline
        self.begun = time.time()
        self.counts = show.visitor.counted()
        self.pending_call = None
        self.quotes = []
        self.conclusion = ""

    def act(self, what):
        """The deed that the scene is about happens now."""
        self.show_events(time.time())
        # Logs cut their times to milliseconds: what they tell of this deed must not seem to come before it.
        self.begun = math.floor(time.time() * 1000) / 1000
        self.timeline.hurry()
        self.timeline.add(Event(self.begun, "demo", what))

    def call(self, method, *arguments):
        """Calls supervisord as supervisorctl does, which waits for the outcome; we look meanwhile."""
        self.pending_call = self.show.background.submit(self.show.stage.rpc, method, *arguments)

    def run(self, *command):
        """Runs a command to its end; we look meanwhile. Gives what it has printed."""
        running = self.show.background.submit(self.show.stage.run, *command)
        while not concurrent.futures.wait([running], SHOW_AFTER_SECONDS).done:
            self.show_events(time.time() - SHOW_AFTER_SECONDS)
        status, output = running.result()
        if status != 0:
            raise Failed(f"expected: `{' '.join(command)}` ends with 0\nseen: it ends with {status}, and says:\n{output}")
        return output

    def expect(self, what, wanted, since=None):
        """Waits for an event. `since` is another event, or the deed."""
        begin = since.time if since else self.begun
        return self.show.wait(what, wanted, begin, lambda: self.show_events(time.time() - SHOW_AFTER_SECONDS))

    def await_report(self, name, state):
        """The listener's next look at HAProxy; whether it finds anything to report depends on the moment."""
        pattern = rf"`app/{name}` went from .* to {state}\b"
        self.timeline.wait(listener_says(pattern), self.begun, REPORT_SECONDS)

    def find(self, what, event):
        """Something for the summary; gives its milliseconds."""
        milliseconds = self.milliseconds(event)
        self.show.findings.append((self.show.scene, self.title, what, milliseconds))
        return milliseconds

    def milliseconds(self, event):
        """From the deed on; cut and not rounded, as logs do it."""
        return max(0, int((event.time - self.begun) * 1000))

    def quote(self, who, output):
        """What a command has printed, to be shown in the end."""
        self.quotes += [(who, line) for line in output.splitlines()]

    def tell(self, what, text):
        """A line above the conclusion."""
        self.quotes.append((what, text))

    def conclude(self, text):
        """The last word of the scene."""
        self.conclusion = text

    def show_events(self, before):
        for event, names in together(self.timeline.take_unshown(before)):
            text = re.sub(r"^haproxy\b", "haproxy (the listener)", event.text)
            text = SERVER_NAME.sub(lambda found: ", ".join(found[1] + name + found[3] for name in names), text)
            screen.event(self.milliseconds(event), event.source, text)

    def show_the_end(self):
        self.show_events(time.time())
        if self.pending_call:
            self.pending_call.result(DEADLINE_SECONDS)
        supervisord_lives = self.show.stage.supervisord.poll() is None
        programs = self.show.stage.program_states() if supervisord_lives else {}
        screen.states(WEBS, [("supervisord", programs), ("HAProxy", self.timeline.servers)])
        requests = self.show.visitor.counted() - self.counts
        if requests:
            waiting = self.show.visitor.waiting()
            screen.say(f"   {'requests':<12} {describe(requests)}{f', {waiting} still wait' if waiting else ''}")
        for who, text in self.quotes:
            screen.say(f"   {who:<12} {text}")
        screen.paragraph(f"=> {self.conclusion}", screen.BOLD)


def together(events):
    """Makes one of events that differ in the server's name only and come together: gives (event, names)."""
    groups = []
    for event in events:
        names = list(dict.fromkeys(found[2] for found in SERVER_NAME.finditer(event.text)))
        key = event.source, SERVER_NAME.sub("*", event.text)
        for others_key, first, others in groups:
            if key == others_key and len(names) == 1 and event.time < first.time + TOGETHER_SECONDS:
                others += names
                break
        else:
            groups.append((key, event, names))
    return [(event, names) for _, event, names in groups]

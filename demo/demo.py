"""Shows what supervisor-haproxy does: a real supervisord runs three web apps, a real HAProxy sends requests to them,
and the listener between them keeps HAProxy's servers in step with supervisord's programs.

./run-demo installs and builds what this needs, and starts it. This is the frame: the introduction, the order of the
scenes, the summary, and that nothing is left behind. The scenes are in scenes.py. Each says what it expects and fails
when that does not come; nothing depends on how fast it comes: the deadlines are for machines that are busy with other
things, and the milliseconds are told, not judged.

Processes and files are in stage.py, observation is in timeline.py, requests are in visitor.py, output is in screen.py.
"""

import argparse
import concurrent.futures
import contextlib
import os
import signal
import subprocess
import sys
import xmlrpc.client

import scenes
import screen
from show import Failed, Show
from stage import Stage
from visitor import describe

LOG_TAIL_LINES = 15


def introduce(show):
    haproxy = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout.split()[2]
    supervisor = subprocess.run(["supervisord", "-v"], capture_output=True, text=True, check=True).stdout.strip()
    title("supervisor-haproxy keeps HAProxy's servers in step with the programs that supervisord runs")
    for who, what in (
        ("supervisord", f"{supervisor}, runs three web apps, web1 to web3, and the listener"),
        ("HAProxy", f"{haproxy}, sends requests to the apps, as servers of its backend `app`"),
        ("listener", "supervisor-haproxy: sets the servers' states, and reports what becomes of them"),
        ("requests", "come through HAProxy all the time, about 20 a second"),
        ("ms", "count from what the demo does; HAProxy's are measured by asking it for `show stat`"),
        ("", "every few milliseconds, all others are the times of log lines"),
        ("at the end", "all apps are restarted in turn, under load: once by hand and once with one command"),
        ("files", f"{show.stage.directory}"),
    ):
        screen.say(f"   {who:<12} {what}")


def title(text):
    screen.say(screen.paint(text, screen.BOLD))


def perform(show):
    introduce(show)
    scenes.haproxy_alone(show)
    scenes.start(show)
    show.visitor.start()
    scenes.stop(show)
    scenes.gate(show)
    scenes.crash(show)
    scenes.hang(show)
    scenes.haproxy_restart(show)
    # What comes is the end of all apps: requests can only fail. The last scenes have users of their own.
    show.visitor.end()
    scenes.shutdown(show)
    scenes.start_again(show)
    scenes.restart_by_hand(show)
    scenes.restart(show)


def summarise(show):
    screen.say()
    title("Summary")
    screen.findings(show.findings)
    screen.say(f"   requests: {describe(show.visitor.counted())}")
    screen.say()
    screen.table(("all apps restarted in turn, under load", "requests", "failed"), show.restarts)


def tell_failure(stage, failure):
    screen.say()
    screen.say(screen.paint("demo failed", screen.RED))
    for line in str(failure).splitlines():
        screen.say(f"   {line}")
    for log in ("listener.log", "haproxy.log", "supervisord.log"):
        screen.say(f"--- the end of {log}")
        with contextlib.suppress(FileNotFoundError):
            lines = stage.path(log).read_text(errors="replace").splitlines()
            screen.say("\n".join(lines[-LOG_TAIL_LINES:]))


def tell_what_is_left(stage):
    config = stage.path("supervisord.conf")
    rows = [
        ("programs", f"supervisorctl -c {config} status"),
        ("servers", f"echo 'show stat' | socat - {stage.path('admin.sock')} | cut -d, -f1,2,18"),
        ("", f"or: echo 'show stat' | nc -U {stage.path('admin.sock')} | cut -d, -f1,2,18"),
        ("the listener", f"tail -f {stage.path('listener.log')}"),
        ("the apps", f"http://127.0.0.1:{stage.www}/"),
        ("statistics", f"http://127.0.0.1:{stage.www}/haproxy"),
        ("try", f"supervisorctl -c {config} stop web1"),
        ("end it all", f"sh {stage.write_end_script()}"),
    ]
    screen.say()
    screen.say("Everything is left running:")
    for what, how in rows:
        screen.say(f"   {what:<13} {how}")


def run(stage, keep):
    """The exit status."""
    show = Show(stage)
    try:
        perform(show)
        summarise(show)
    except (Failed, OSError, xmlrpc.client.Error, concurrent.futures.TimeoutError) as failure:
        tell_failure(stage, failure)
        return 1
    finally:
        show.close()
    if keep:
        tell_what_is_left(stage)
    screen.say(screen.paint("demo passed", screen.GREEN))
    return 0


def on_signals(action):
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, action)


def leave(number, _frame):
    """Turns a signal into the end of the program, so that nothing is left behind."""
    on_signals(signal.SIG_IGN)
    os.write(2, b"ending all that was started ...\n")
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listener", required=True, help="path of the binary supervisor-haproxy")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    options = parser.parse_args()
    # Between threads, a millisecond is long here.
    sys.setswitchinterval(0.0005)
    on_signals(leave)
    stage = Stage()
    status = 1
    try:
        stage.prepare(os.path.abspath(options.listener))
        status = run(stage, options.keep)
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        if status != 0 or not options.keep:
            on_signals(signal.SIG_IGN)
            stage.clear()
    return status


if __name__ == "__main__":
    sys.exit(main())

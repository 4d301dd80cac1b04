"""The scenes, in the order in which they are played. Each says what it does, what it expects and what it found.

How a scene is played is in show.py.
"""

import signal
import subprocess
import time

from show import DEADLINE_SECONDS, Failed, haproxy_shows, listener_says, supervisord_says
from stage import WEBS, send
from timeline import SILENT, server_states
from visitor import Crowd, describe

# Before and after each round of restarts: users are there all the time.
BESIDE_SECONDS = 0.5


def haproxy_alone(show):
    """HAProxy alone: no app listens, and its checks have seen that."""
    show.stage.start_haproxy()
    show.timeline.start()
    for name in WEBS:
        show.wait(f"HAProxy shows {name} DOWN, for no app listens yet", haproxy_shows(name, "DOWN"), 0, lambda: None)


def all_in_rotation(scene):
    """Waits until each app listens and its server is UP; gives the last one's event."""
    events = [scene.expect(f"HAProxy shows {name} UP", haproxy_shows(name, "UP")) for name in WEBS]
    for name in WEBS:
        scene.await_report(name, "UP")
    return max(events, key=lambda event: event.time)


def start(show):
    explanation = "An app gets requests when it listens and two health checks have passed, not before."
    with show.play("supervisord starts", explanation) as scene:
        scene.act("supervisord -c supervisord.conf")
        show.stage.start_supervisord()
        last = all_in_rotation(scene)
        took = scene.find("all three apps are in rotation", last)
        scene.conclude(f"All apps are in rotation {took} ms after supervisord was started.")


def stop(show):
    explanation = "A program is stopped. Its server is drained, then put in maintenance."
    with show.play("supervisorctl stop web1", explanation) as scene:
        scene.act("supervisorctl stop web1")
        scene.call("stopProcess", "web1")
        out = scene.expect("HAProxy takes web1 out of rotation", haproxy_shows("web1", "DRAIN", "MAINT", "DOWN"))
        scene.expect("supervisord says web1 STOPPED", supervisord_says("web1", "STOPPED"))
        maint = scene.expect("HAProxy shows web1 in MAINT", haproxy_shows("web1", "MAINT"))
        scene.await_report("web1", "MAINT")
        out_after = scene.find("web1 is out of rotation", out)
        maint_after = scene.find("the app has ended, its server is in maintenance", maint)
        scene.conclude(f"No new requests for web1 after {out_after} ms; in maintenance after {maint_after} ms.")


def gate(show):
    explanation = (
        "supervisord calls a program RUNNING when it has lived for a second (startsecs). This app needs two before it "
        "listens. The listener sets its server ready, but DOWN until its health checks have passed: the ready gate."
    )
    with show.play("supervisorctl start web1", explanation) as scene:
        scene.act("supervisorctl start web1")
        scene.call("startProcess", "web1")
        running = scene.expect("supervisord says web1 RUNNING", supervisord_says("web1", "RUNNING"))
        gated = scene.expect("HAProxy shows web1 out of MAINT", haproxy_shows("web1", "DOWN", "UP"))
        if gated.state != "DOWN":
            raise Failed("expected: HAProxy shows web1 DOWN until its checks pass\nseen: it was UP at once")
        listens = scene.expect("web1 listens", lambda event: event.source == "web1" and event.text == "listens")
        up = scene.expect("HAProxy shows web1 UP", haproxy_shows("web1", "UP"))
        if up.time < listens.time:
            raise Failed("expected: HAProxy shows web1 UP after it listens\nseen: it was UP before")
        scene.await_report("web1", "UP")
        running_after = scene.find("supervisord says RUNNING; the gate keeps web1 out", running)
        listens_after = scene.find("web1 listens", listens)
        up_after = scene.find("web1 is in rotation: its health checks have passed", up)
        scene.conclude(
            f"RUNNING after {running_after} ms, listening after {listens_after} ms, in rotation after {up_after} ms."
        )


def crash(show):
    explanation = (
        "A crash. The listener sees the process end by itself, and wakes supervisord, which alone may take a second or "
        "two to notice."
    )
    with show.play("kill -9 web2", explanation) as scene:
        pid = show.stage.pid("web2")
        scene.act(f"kill -9 {pid}")
        send(pid, signal.SIGKILL)
        out = scene.expect("HAProxy takes web2 out of rotation", haproxy_shows("web2", "MAINT", "DOWN"))
        noticed = scene.expect("supervisord notices that web2 has ended", supervisord_says("web2", "EXITED"))
        maint = scene.expect("HAProxy shows web2 in MAINT", haproxy_shows("web2", "MAINT"))
        scene.expect("supervisord starts web2 again", supervisord_says("web2", "RUNNING"))
        up = scene.expect("HAProxy shows web2 UP again", haproxy_shows("web2", "UP"), maint)
        scene.await_report("web2", "UP")
        out_after = scene.find("web2 is out of rotation", out)
        noticed_after = scene.find("supervisord has noticed", noticed)
        up_after = scene.find("supervisord has restarted web2; it is in rotation again", up)
        scene.conclude(
            f"web2 was out of rotation {out_after} ms after kill -9; supervisord noticed after "
            f"{noticed_after} ms; back in rotation after {up_after} ms."
        )


def hang(show):
    explanation = (
        "An app hangs. For supervisord it is RUNNING; HAProxy's own health checks take it out, and the listener, which "
        "looks at HAProxy once a second here, reports that."
    )
    with show.play("kill -STOP web3", explanation) as scene:
        pid = show.stage.pid("web3")
        scene.act(f"kill -STOP {pid}")
        send(pid, signal.SIGSTOP)
        down = scene.expect("HAProxy's checks find web3 DOWN", haproxy_shows("web3", "DOWN"))
        report = scene.expect("the listener reports web3 DOWN", listener_says(r"`app/web3` went from .* to DOWN"))
        state = show.stage.program_states()["web3"]
        if state != "RUNNING":
            raise Failed(f"expected: supervisord says web3 RUNNING while it hangs\nseen: {state}")
        down_after = scene.find("HAProxy's health checks take web3 out", down)
        report_after = scene.find("the listener has reported it", report)
        scene.conclude(
            f"web3 was out of rotation after {down_after} ms, reported after {report_after} ms; "
            "supervisord says RUNNING."
        )
    with show.play("kill -CONT web3", "The app goes on, and so do its health checks.") as scene:
        scene.act(f"kill -CONT {pid}")
        send(pid, signal.SIGCONT)
        up = scene.expect("HAProxy shows web3 UP again", haproxy_shows("web3", "UP"))
        report = scene.expect("the listener reports web3 UP", listener_says(r"`app/web3` went from .* to UP"))
        up_after = scene.find("web3 is in rotation again", up)
        report_after = scene.find("the listener has reported it", report)
        scene.conclude(f"In rotation again after {up_after} ms, reported after {report_after} ms.")


def haproxy_restart(show):
    explanation = (
        "A new HAProxy has forgotten all that was set at run time. First web3 is stopped; then the restart. The "
        "listener notices that another process answers, and sets everything again."
    )
    with show.play("HAProxy is restarted", explanation) as scene:
        scene.act("supervisorctl stop web3")
        scene.call("stopProcess", "web3")
        scene.expect("supervisord says web3 STOPPED", supervisord_says("web3", "STOPPED"))
        scene.expect("HAProxy shows web3 in MAINT", haproxy_shows("web3", "MAINT"))
        scene.await_report("web3", "MAINT")
        scene.act(f"kill {show.stage.haproxy.pid}; haproxy -f haproxy.cfg")
        show.stage.stop_haproxy()
        gone = scene.expect("the old HAProxy has ended", lambda event: event.state == SILENT)
        show.stage.start_haproxy()
        back = scene.expect("the new HAProxy answers", haproxy_shows("web3", "UP", "DOWN", "MAINT"), gone)
        maint = scene.expect("the new HAProxy shows web3 in MAINT", haproxy_shows("web3", "MAINT"), back)
        for name in ("web1", "web2"):
            scene.expect(f"the new HAProxy shows {name} UP", haproxy_shows(name, "UP"), gone)
        scene.await_report("web3", "MAINT")
        back_after = scene.find("the new HAProxy answers; it takes web3 for a server in use", back)
        maint_after = scene.find("web3 is in maintenance again", maint)
        scene.conclude(
            f"web3 is in maintenance again {maint_after - back_after} ms after the new HAProxy's first answer. "
            "The listener looks for a new HAProxy once a second here."
        )


def shutdown(show):
    explanation = "supervisord ends, and all programs with it. The listener's last deed: all servers in maintenance."
    with show.play("supervisorctl shutdown", explanation) as scene:
        scene.act("supervisorctl shutdown")
        show.stage.shut_supervisord_down()
        maint = [
            scene.expect(f"HAProxy shows {name} in MAINT", haproxy_shows(name, "MAINT")) for name in ("web1", "web2")
        ]
        try:
            show.stage.supervisord.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"expected within {DEADLINE_SECONDS} s: supervisord ends\nseen: it runs") from None
        left = server_states(show.stage.path("admin.sock"))
        if left != dict.fromkeys(WEBS, "MAINT"):
            raise Failed(f"expected: HAProxy shows all servers in MAINT when supervisord has ended\nseen: {left}")
        took = scene.find("all servers are in maintenance", max(maint, key=lambda event: event.time))
        scene.conclude(f"All servers were in maintenance after {took} ms.")


def start_again(show):
    with show.play("supervisord starts again", "For what comes last.") as scene:
        scene.act("supervisord -c supervisord.conf")
        show.stage.start_supervisord()
        took = scene.find("all three apps are in rotation", all_in_rotation(scene))
        scene.conclude(f"All apps are in rotation again after {took} ms.")


def restart_by_hand(show):
    explanation = (
        "All apps are restarted in turn, under load: twelve users, each with a request under way all the time, and half "
        "of the requests take a second. An app finishes for 0.3 s after its signal. The next app is restarted when the "
        "one before is in rotation again: what fails is due to the restart alone."
    )
    with show.play("supervisorctl restart, app by app", explanation) as scene:
        with Crowd(show.stage.www) as crowd:
            time.sleep(BESIDE_SECONDS)
            scene.act("supervisorctl restart web1, then web2, then web3")
            for name in WEBS:
                scene.run("supervisorctl", "-c", "supervisord.conf", "restart", name)
                last = back_in_rotation(scene, name)
            time.sleep(BESIDE_SECONDS)
        conclude_restarts(scene, "supervisorctl restart", crowd, last)


def restart(show):
    explanation = (
        "The same with one command. It drains a server before it stops the app, waits until no request is under way, "
        "and goes on to the next app when this one is in rotation again."
    )
    with show.play("supervisor-haproxy restart", explanation) as scene:
        with Crowd(show.stage.www) as crowd:
            time.sleep(BESIDE_SECONDS)
            scene.act("supervisor-haproxy restart -c supervisord.conf 'web*'")
            output = scene.run(show.stage.listener, "restart", "-c", "supervisord.conf", "web*")
            last = max((back_in_rotation(scene, name) for name in WEBS), key=lambda event: event.time)
            time.sleep(BESIDE_SECONDS)
        scene.quote("it says", output)
        failed = conclude_restarts(scene, "supervisor-haproxy restart", crowd, last)
    if failed:
        raise Failed(f"expected: no request fails while supervisor-haproxy restarts all apps\nseen: {failed} failed")


def back_in_rotation(scene, name):
    """Waits until a server was out of rotation and is in it again."""
    out = scene.expect(f"HAProxy takes {name} out of rotation", haproxy_shows(name, "DRAIN", "MAINT", "DOWN"))
    return scene.expect(f"HAProxy shows {name} UP again", haproxy_shows(name, "UP"), out)


def conclude_restarts(scene, how, crowd, last):
    """Gives how many requests failed."""
    took = scene.find("all three apps are restarted and in rotation", last)
    failed = sum(count for (kind, _), count in crowd.counts.items() if kind == "failed")
    requests = sum(crowd.counts.values())
    scene.show.restarts.append((how, requests, failed))
    scene.conclude(f"{requests} requests while all apps were restarted, {failed} failed; it took {took} ms.")
    scene.tell("requests", describe(crowd.counts))
    return failed

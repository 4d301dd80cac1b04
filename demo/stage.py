"""The temporary directory, the configurations in it and the processes of the demo, from their start to their end.

Everything listens on the loopback interface or on sockets in the directory.
"""

import contextlib
import http.client
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import xmlrpc.client

HERE = pathlib.Path(__file__).resolve().parent
WEBS = ("web1", "web2", "web3")

# supervisord gives each app `stopwaitsecs`, 5 s, one after the other.
SUPERVISORD_END_SECONDS = 30
HAPROXY_END_SECONDS = 10
# A restart of all apps takes a quarter of a minute.
COMMAND_SECONDS = 120
# A path of a unix socket has at most 107 bytes; HAProxy appends to it while it starts.
LONGEST_DIRECTORY = 60
# In the environment of all that we start, and of all that they start: by this, ours are told from others.
MARK = "RUN_DEMO_DIRECTORY"

END_SCRIPT = """\
#!/bin/sh
# Ends what ./run-demo --keep has left running, and removes this directory.
kill $supervisord $haproxy
# supervisord removes its pid file last, when all programs have ended.
for _ in $$(seq 300); do [ -e '$directory/supervisord.pid' ] || break; sleep 0.1; done
rm -r '$directory'
"""


class UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket, as supervisorctl does it."""

    def __init__(self, path):
        super().__init__()
        self.path = str(path)

    def make_connection(self, _host):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(self.path)
        return connection


def make_directory():
    place = tempfile.gettempdir()
    if len(place) > LONGEST_DIRECTORY - 32 or not re.fullmatch(r"[\w./-]+", place):
        place = "/tmp"
    return pathlib.Path(tempfile.mkdtemp(prefix="supervisor-haproxy-demo.", dir=place))


def free_ports(count):
    """Ports below those that the kernel gives to outgoing connections: they stay free while their app is down."""
    first_outgoing = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    choice = range(10_000, first_outgoing) if first_outgoing > 11_000 else range(10_000, 60_000)
    with contextlib.ExitStack() as held:
        ports = []
        for port in random.sample(choice, 500):
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(port)
            if len(ports) == count:
                return ports
    raise OSError(f"no {count} free ports on 127.0.0.1")


class Stage:
    """Where the demo takes place. From its making on, `clear` is due."""

    def __init__(self):
        self.directory = make_directory()
        self.haproxy = self.supervisord = None
        # Names of those whose end would be a fault.
        self.needed = set()
        self.www = self.listener = None

    def prepare(self, listener):
        """Chooses the ports and writes the configurations. Nothing runs yet."""
        self.listener = listener
        self.www, *web_ports = free_ports(1 + len(WEBS))
        # In supervisord's configuration, words are split as by a shell, and % begins an expansion.
        paths = {"listener": listener, "python": sys.executable, "app": HERE / "app.py"}
        words = {name: shlex.quote(str(path)).replace("%", "%%") for name, path in paths.items()}
        words.update(zip(WEBS, web_ports), www=self.www, directory=self.directory)
        for name in ("haproxy.cfg", "supervisord.conf"):
            template = string.Template((HERE / name).read_text())
            self.path(name).write_text(template.substitute(words))

    def path(self, name):
        return self.directory / name

    def start_haproxy(self):
        self.haproxy = self._start("haproxy", "-db", "-f", self.path("haproxy.cfg"))

    def start_supervisord(self):
        self.supervisord = self._start("supervisord", "-n", "-c", self.path("supervisord.conf"))

    def stop_haproxy(self):
        self.needed.remove("haproxy")
        end(self.haproxy, HAPROXY_END_SECONDS)

    def shut_supervisord_down(self):
        """Returns at once; `supervisord.wait` tells the end."""
        self.needed.remove("supervisord")
        self.rpc("shutdown")

    def rpc(self, method, *arguments):
        """Calls a method of supervisord's `supervisor` namespace; blocks as long as supervisord takes, up to 60 s."""
        transport = UnixTransport(self.path("supervisord.sock"))
        with xmlrpc.client.ServerProxy("http://localhost", transport) as supervisord:
            return getattr(supervisord.supervisor, method)(*arguments)

    def run(self, *command):
        """Runs a command that ends by itself; gives its status and what it has printed."""
        ended = subprocess.run(
            command,
            cwd=self.directory,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            start_new_session=True,
        )
        return ended.returncode, ended.stdout

    def program_states(self):
        """supervisord's own words, as in {"web1": "RUNNING"}."""
        return {program["name"]: program["statename"] for program in self.rpc("getAllProcessInfo")}

    def pid(self, name):
        return self.rpc("getProcessInfo", name)["pid"]

    def fault(self):
        """What has ended without being asked to, in words; None if all is well."""
        for name, process in (("haproxy", self.haproxy), ("supervisord", self.supervisord)):
            if name in self.needed and process.poll() is not None:
                return f"{name} has ended with status {process.returncode}"
        return None

    def write_end_script(self):
        """The path of a script that ends what is left running."""
        script = self.path("end")
        pids = {"supervisord": self.supervisord.pid, "haproxy": self.haproxy.pid}
        script.write_text(string.Template(END_SCRIPT).substitute(pids, directory=self.directory))
        return script

    def clear(self):
        """Ends all processes and removes the directory, whatever state the demo was left in."""
        # One that was stopped would not hear that it is to end.
        self._signal_all(signal.SIGCONT)
        if self.supervisord:
            end(self.supervisord, SUPERVISORD_END_SECONDS)
        if self.haproxy:
            end(self.haproxy, HAPROXY_END_SECONDS)
        # Nobody is left, unless supervisord was killed or a signal ended us in the moment of a start.
        self._signal_all(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, name, *arguments):
        with open(self.path(f"{name}.log"), "ab") as output:
            # A session of its own: Ctrl-C is for the demo, which then ends the others in order.
            process = subprocess.Popen(
                [name, *arguments],
                cwd=self.directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.needed.add(name)
        return process

    def _environment(self):
        # Ours may hold options of the listener, or be that of another supervisord.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SUPERVISOR_")}
        environment[MARK] = str(self.directory)
        return environment

    def _signal_all(self, number):
        mark = f"{MARK}={self.directory}".encode()
        for environment in pathlib.Path("/proc").glob("[0-9]*/environ"):
            # Processes of others cannot be read, and some end while we look.
            with contextlib.suppress(OSError):
                if mark in environment.read_bytes().split(b"\0"):
                    send(int(environment.parent.name), number)


def send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def end(process, seconds):
    """Asks a process to end and, if it does not, kills it."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

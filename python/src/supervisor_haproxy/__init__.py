"""The program supervisor-haproxy, for those who install with pip or zc.buildout.

It is in ``bin`` beside this file and no part of Python. What is here becomes that program: with the same process id, the
same stdin, stdout and stderr, which it neither reads nor writes, and with nothing left of the interpreter.

Of Python, this takes 2.7 and all that came after 3.5.
"""

import errno
import os
import signal
import sys

NAME = "supervisor-haproxy"
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", NAME)


def main():
    """Becomes the program; all console scripts are this. Never returns; exits with 1 where the program cannot start."""
    restore_signals()
    words = [called_as(sys.argv[0])] + sys.argv[1:]
    try:
        start(words)
    except OSError as error:
        sys.exit("error: {}: cannot be started: {}; {}".format(PROGRAM, error.strerror, advice(error.errno)))


def start(words):
    """Becomes the program, which is made executable first where an installer has not done that, as zc.buildout 2."""
    try:
        os.execv(PROGRAM, words)
    except OSError as error:
        if error.errno != errno.EACCES or os.access(PROGRAM, os.X_OK):
            raise
        make_executable()
        os.execv(PROGRAM, words)


def make_executable():
    """For all who may read it."""
    mode = os.stat(PROGRAM).st_mode & 0o777
    try:
        os.chmod(PROGRAM, mode | (mode & 0o444) >> 2)
    except OSError:
        # Not the owner: that it is not executable is what there is to be told.
        pass


def advice(code):
    """What to do about an error of exec(2)."""
    if code == errno.EACCES and os.path.exists(PROGRAM):
        return "run `chmod +x {}` as its owner, and see that no `noexec` mount has it".format(PROGRAM)
    return "install the wheel that is for this machine again"


def called_as(script):
    """What the program is to take for its name: it does other things when it is called haproxystats-pull, say."""
    # That is `python -m supervisor_haproxy`.
    return NAME if os.path.basename(script) == "__main__.py" else script


def restore_signals():
    """Python ignores these, and what is ignored stays so beyond exec(2)."""
    for name in ("SIGPIPE", "SIGXFSZ", "SIGXFZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)

"""Starts the real programs (puyu, haproxy, prometheus) on free ports of 127.0.0.1 and ends them with the test."""
import atexit
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

PUYU, MODEL = os.environ["PUYU"], os.environ["MODEL"]
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_children = []


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def need(program, package):
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if not path:
        skip(f"{program} is not here (apt-get install {package})")
    return path


def check(holds, *what):
    if not holds:
        raise AssertionError(" ".join(str(w) for w in what))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, f, seconds=300):
    """f() until it is true; what it threw last is shown when it never is."""
    last = None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            value = f()
            if value:
                return value
        except (OSError, http.client.HTTPException) as e:
            last = e
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} seconds ({last})")


def start(*command, **more):
    child = subprocess.Popen(command, **more)
    _children.append(child)
    return child


@atexit.register
def _end_all():
    for child in _children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    for child in _children:
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def puyu(*args, code=0, **more):
    """Runs puyu to its end; gives its stdout."""
    done = subprocess.run([PUYU, *args], capture_output=True, text=True, **more)
    check(done.returncode == code, "puyu", *args, f"ended with {done.returncode}, expected {code}:", done.stderr[-2000:])
    return done.stdout


def request(port, path, body=None, headers=None, method=None):
    """(status, text) of one request."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        data = None if body is None else json.dumps(body)
        c.request(method or ("GET" if data is None else "POST"), path, data, headers or {})
        r = c.getresponse()
        return r.status, r.read().decode()
    finally:
        c.close()


def metrics(port, headers=None):
    """The numbers of /metrics by their full names."""
    status, page = request(port, "/metrics", headers=headers)
    check(status == 200, "/metrics answered", status)
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if not line.startswith("#")}


def events(response):
    """The data of each server-sent event, as they come. (Iterating over a response's lines hides that it broke off.)"""
    rest = b""
    while piece := response.read1(1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line[len(b"data: "):].decode() for line in lines if line.startswith(b"data: "))


class Replica:
    """`puyu serve` of the tiny model; the same port for all its lives."""

    def __init__(self, *args):
        self.port, self.args = free_port(), args
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.start()

    def start(self):
        self.child = start(PUYU, "serve", MODEL, f"--port={self.port}", "--name=tiny", *self.args,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("puyu serve", lambda: request(self.port, "/health")[0] == 200)

    def kill(self):
        self.child.kill()
        self.child.wait()

"""deploy/haproxy.cfg as it stands, but for its addresses."""
import subprocess

from testbed import REPOSITORY, check, free_port, need, request, start, wait_for


def start_haproxy(replicas, certificate=None):
    """The port of a running haproxy in front of two replicas; with a certificate it speaks TLS."""
    haproxy, port = need("haproxy", "haproxy"), free_port()
    with open(f"{REPOSITORY}/deploy/haproxy.cfg", encoding="utf-8") as f:
        config = f.read()

    def put(old, new):
        nonlocal config
        check(config.count(old) == 1, "deploy/haproxy.cfg: expected once:", old)
        config = config.replace(old, new)

    if certificate:
        put("  bind 127.0.0.1:8000\n", "")
        put("  # For TLS instead: bind :443 ssl crt /etc/haproxy/puyu.pem", f"  bind 127.0.0.1:{port} ssl crt {certificate}")
    else:
        put("bind 127.0.0.1:8000\n", f"bind 127.0.0.1:{port}\n")
    put("127.0.0.1:23333", f"127.0.0.1:{replicas[0].port}")
    put("127.0.0.1:23334", f"127.0.0.1:{replicas[1].port}")
    with open("haproxy.cfg", "w", encoding="utf-8") as f:
        f.write(config)
    tried = subprocess.run([haproxy, "-c", "-f", "haproxy.cfg"], capture_output=True, text=True)
    check(tried.returncode == 0 and "warning" not in tried.stdout + tried.stderr, tried.stdout, tried.stderr)
    with open("haproxy.log", "w", encoding="utf-8") as log:
        start(haproxy, "-db", "-f", "haproxy.cfg", stdout=log, stderr=log)
    if not certificate:
        wait_for("haproxy", lambda: request(port, "/health")[0] == 200)
    return port

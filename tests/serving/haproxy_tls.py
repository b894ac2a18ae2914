"""TLS by the proxy in front: a streamed answer over HTTP/1.1 and over HTTP/2 with a certificate made here."""
import http.client
import json
import os
import ssl
import subprocess

from proxy import start_haproxy
from testbed import Replica, check, events, need, request, wait_for

openssl = need("openssl", "openssl")
subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"], check=True, capture_output=True)
with open("puyu.pem", "w", encoding="utf-8") as both:
    for name in ("cert.pem", "key.pem"):
        with open(name, encoding="utf-8") as f:
            both.write(f.read())

replicas = [Replica("--api_key=secret"), Replica("--api_key=secret")]
port = start_haproxy(replicas, certificate=os.path.abspath("puyu.pem"))
trusting = ssl.create_default_context(cafile="cert.pem")
key = {"Authorization": "Bearer secret"}
body = {"model": "tiny", "prompt": "the cat sat", "max_tokens": 200, "temperature": 0, "seed": 1, "ignore_eos": True}


def tls(context=trusting):
    return http.client.HTTPSConnection("localhost", port, context=context, timeout=300)


def is_up():
    c = tls()
    c.request("GET", "/health")
    return c.getresponse().status == 200


def joined(chunks):
    return "".join(c["text"] for chunk in chunks for c in json.loads(chunk)["choices"])


wait_for("haproxy", is_up)
want = json.loads(request(replicas[0].port, "/v1/completions", body, key)[1])["choices"][0]["text"]
check(len(want) > 100, "the answer is short:", want)

c = tls()
c.request("POST", "/v1/completions", json.dumps({**body, "stream": True}), key)
r = c.getresponse()
check(r.status == 200 and r.getheader("Content-Type").startswith("text/event-stream"), r.status, r.headers)
chunks = list(events(r))
check(chunks[-1] == "[DONE]" and len(chunks) > 50, "the stream ended in", chunks[-1], "after", len(chunks))
check(joined(chunks[:-1]) == want, "over HTTP/1.1")

# Nobody trusts a certificate that nobody signed, a key is still needed, and plain HTTP finds no server.
try:
    tls(ssl.create_default_context()).request("GET", "/health")
    raise AssertionError("an unknown certificate was taken")
except ssl.SSLCertVerificationError:
    pass
c = tls()
c.request("POST", "/v1/completions", json.dumps(body))
check(c.getresponse().status == 401, "a request without a key")
try:
    status, _ = request(port, "/health")
    check(status >= 400, "plain HTTP was answered with", status)
except (http.client.HTTPException, OSError):
    pass

curl = need("curl", "curl")
version = subprocess.run([curl, "--version"], capture_output=True, text=True, check=True).stdout
check("HTTP2" in version, "this curl has no HTTP/2:", version)
done = subprocess.run([curl, "--silent", "--show-error", "--no-buffer", "--http2", "--cacert", "cert.pem", "-H", "Authorization: Bearer secret",
                       "-H", "Content-Type: application/json", "-d", json.dumps({**body, "stream": True}), "-w", "\n%{http_version} %{http_code}",
                       f"https://localhost:{port}/v1/completions"], capture_output=True, text=True)
check(done.returncode == 0, done.stderr)
check(done.stdout.endswith("\n2 200"), done.stdout[-100:])
chunks = [line[len("data: "):] for line in done.stdout.splitlines() if line.startswith("data: ")]
check(chunks[-1] == "[DONE]" and joined(chunks[:-1]) == want, "over HTTP/2")

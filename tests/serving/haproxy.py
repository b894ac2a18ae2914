"""Two replicas behind Debian's HAProxy with deploy/haproxy.cfg: affinity, a replica that dies under load and comes back."""
import http.client
import http.server
import json
import signal
import subprocess
import threading

from proxy import start_haproxy
from testbed import MODEL, PUYU, Replica, check, events, metrics, request, start, wait_for

replicas = [Replica("--grace-seconds=600"), Replica("--grace-seconds=600")]
proxy = start_haproxy(replicas)


def served_by(path, body, headers=None, port=proxy):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    c.request("POST", path, json.dumps(body, ensure_ascii=False).encode(), headers or {})
    r = c.getresponse()
    text = r.read()
    c.close()
    check(r.status == 200, path, r.status, text)
    return r.getheader("X-Served-By")


message = lambda role, content: {"role": role, "content": content}
words = "the cat sat on the mat hello world".split(" ")
story = lambda i: f"story {i}: " + " ".join(words[(i * 3 + k) % 8] for k in range(40))

# 1. Affinity. Conversations with one system prompt go on where they began, and their prefixes are found in the cache as
# often as on a single server.
def conversations(port):
    where = []
    for i in range(12):
        turns = [message("system", "You are brief."), message("user", story(i))]
        seen = set()
        for k in range(4):
            body = {"model": "tiny", "messages": turns, "max_tokens": 5, "temperature": 0, "seed": 1}
            seen.add(served_by("/v1/chat/completions", body, port=port))
            turns = turns + [message("assistant", f"answer {k}"), message("user", f"and then {k}?")]
        check(len(seen) == 1, "conversation", i, "was served by", seen)
        where.append(seen.pop())
    return where


found = lambda: [metrics(r.port)["puyu_prefix_cache_hits_total"] for r in replicas]
where = conversations(proxy)
check(set(where) == {"puyu1", "puyu2"}, "conversations do not spread:", where)
hits = found()
single = Replica()
conversations(single.port)
alone = metrics(single.port)["puyu_prefix_cache_hits_total"]
looked = metrics(single.port)["puyu_prefix_cache_queries_total"]
# All conversations share "You are brief.": each replica has to read it once, a single server once in all.
check(alone > looked / 2, "the single server found", alone, "of", looked)
check(alone - 64 <= sum(hits) <= alone, "found behind the proxy:", hits, "on one server:", alone)
check(min(hits) > 0, hits)
single.kill()


# 2. What the key is made of: 16 kinds of each request, twice with different ends. Both go to one replica, and not all 16 to the same.
def same_place(name, make, headers=lambda i, k: {}):
    path = "/v1/chat/completions" if "messages" in make(0, 0) else "/v1/completions"
    places = []
    for i in range(16):
        pair = {served_by(path, {**make(i, k), "model": "tiny", "max_tokens": 1}, headers(i, k)) for k in range(2)}
        check(len(pair) == 1, name, i, pair)
        places += pair
    check(len(set(places)) == 2, name, "all went to", places[0])


more = lambda k: [message("assistant", f"{k}"), message("user", f"next {k}")]
same_place("no system prompt", lambda i, k: {"messages": [message("user", story(i))] + (more(0) if k else [])})
same_place("fields before the messages", lambda i, k: {"temperature": k / 2, "seed": k, "messages": [message("user", story(i))]})
same_place("parts", lambda i, k: {"messages": [message("user", [{"type": "text", "text": story(i)}])] + more(k)})
same_place("non-ASCII", lambda i, k: {"messages": [message("user", f"{i} 从原始文本到对话")] + more(k)})
same_place("a prompt", lambda i, k: {"prompt": (story(i) * 3)[:512] + f" end {k}"})
same_place("ids", lambda i, k: {"prompt": [5 + i] * 300 + [7 + k]})
same_place("X-Prefix", lambda i, k: {"prompt": f"anything {k} {i * 7 + k}"}, lambda i, k: {"X-Prefix": f"session {i}"})
check(request(proxy, "/metrics")[0] == 404, "/metrics is not for clients")


# 3. A replica dies under load. All answers fit in the batches of both at once, so each stream has begun when it is cut, and
# 400 tokens are far from said then.
class Stream(threading.Thread):
    def __init__(self, i):
        super().__init__()
        self.i, self.events, self.where, self.error, self.done = i, 0, None, None, False
        self.begun = threading.Event()

    def run(self):
        c = http.client.HTTPConnection("127.0.0.1", proxy, timeout=300)
        body = {"model": "tiny", "prompt": f"stream {self.i}", "n": 4, "max_tokens": 400, "ignore_eos": True, "stream": True}
        try:
            c.request("POST", "/v1/completions", json.dumps(body))
            r = c.getresponse()
            check(r.status == 200, "stream", self.i, "was answered with", r.status)
            self.where = r.getheader("X-Served-By")
            for data in events(r):
                self.events += 1
                self.done = data == "[DONE]"
                self.begun.set()
        except Exception as e:
            self.error = e
        finally:
            self.begun.set()
            c.close()


class Whole(threading.Thread):
    """An answer that comes in one piece: nothing of it was streamed, so it may be asked for again."""

    def __init__(self, i):
        super().__init__()
        self.i, self.status, self.text = i, 0, ""

    def run(self):
        body = {"model": "tiny", "prompt": f"whole {self.i}", "n": 2, "max_tokens": 400, "ignore_eos": True}
        try:
            self.status, self.text = request(proxy, "/v1/completions", body)
        except Exception as e:
            self.text = repr(e)


def kill_under_load():
    """The streams that were cut."""
    streams, whole = [Stream(i) for i in range(8)], [Whole(i) for i in range(8)]
    load = start(PUYU, "bench", "serve", "--url", f"http://127.0.0.1:{proxy}/v1", "--num-prompts", "200", "--random-input-len", "60",
                 "--random-output-len", "100", "--random-range-ratio", "0.5", "--max-concurrency", "8", "--tokenizer", MODEL,
                 "--output", "load.json", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for t in streams + whole:
        t.start()
    for s in streams:
        s.begun.wait()
    replicas[0].kill()
    for t in streams + whole:
        t.join()
    check(load.wait(600) == 0, "bench serve ended with", load.returncode)
    cut = [s for s in streams if not s.done]
    for s in cut:
        check(s.where == "puyu1" and s.events > 0, "stream", s.i, "of", s.where, "ended after", s.events, "events with", s.error)
        # Not the end of a chunked body: the client is told that something is missing.
        check(isinstance(s.error, (http.client.IncompleteRead, ConnectionError)), "stream", s.i, "ended with", repr(s.error))
    check(any(s.done for s in streams if s.where == "puyu2"), "no stream of the other replica was finished")
    for w in whole:
        check(w.status == 200 and len(json.loads(w.text)["choices"]) == 2, "whole answer", w.i, w.status, w.text)
    with open("load.json", encoding="utf-8") as f:
        report = json.load(f)
    check(report["completed"] + report["failed"] == 200 and report["failed"] <= 8, report["failures"])
    check(set(report["failures"]) <= {"the connection broke in mid-stream"}, report["failures"])
    print(f"{len(cut)} of {len(streams)} streams cut, bench serve: {report['completed']} completed, failures {report['failures']}")
    return cut


for _ in range(10):
    if kill_under_load():
        break
    replicas[0].start()  # this process slept while the streams ended: once more
    wait_for("puyu1", lambda: request(proxy, "/health")[0] == 200)
else:
    raise AssertionError("no stream was cut in ten tries")

# 4. It comes back and gets its share again.
replicas[0].start()
fresh = iter(range(10**6))
wait_for("puyu1 to be used", lambda: served_by("/v1/completions", {"model": "tiny", "prompt": f"new {next(fresh)}", "max_tokens": 1}) == "puyu1")
check(metrics(replicas[0].port)["puyu_answer_tokens_total"] > 0, "traffic after its return")
wait_for("the old places", lambda: conversations(proxy) == where)

# 5. Both are restarted under load, one after the other, as docs/serving.md says: nothing is lost.
load = start(PUYU, "bench", "serve", "--url", f"http://127.0.0.1:{proxy}/v1", "--num-prompts", "100000", "--random-input-len", "40",
             "--random-output-len", "60", "--random-range-ratio", "0.3", "--max-concurrency", "8", "--tokenizer", MODEL, "--output",
             "restart.json", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for r in replicas:
    wait_for("load", lambda: metrics(r.port)["puyu_sequences_running"] > 1)
    r.child.terminate()
    check(r.child.wait(600) == 0, "a replica ended with", r.child.returncode)
    r.start()
    wait_for("its share", lambda: metrics(r.port)["puyu_answer_tokens_total"] > 100)
load.send_signal(signal.SIGINT)  # the report is of what was done until now
load.wait(300)
with open("restart.json", encoding="utf-8") as f:
    report = json.load(f)
check(report["completed"] > 20 and set(report["failures"]) == {"interrupted"}, report["completed"], report["failures"])

# 6. No replica: an error that clients understand, at once.
for r in replicas:
    r.kill()
status, text = request(proxy, "/v1/completions", {"model": "tiny", "prompt": "x"})
check(status == 503 and json.loads(text)["error"]["code"] == "unavailable", status, text)


# 7. The replica learns who asked, and a client cannot lie about it.
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


echo = http.server.ThreadingHTTPServer(("127.0.0.1", replicas[1].port), Echo)
threading.Thread(target=echo.serve_forever, daemon=True).start()
wait_for("the echo", lambda: request(proxy, "/v1/models")[0] == 200)
sent = json.loads(request(proxy, "/v1/models", headers={"X-Forwarded-For": "10.9.8.7"})[1])
check(sent.get("x-forwarded-for") == "127.0.0.1", sent)

"""Debian's Prometheus scrapes two replicas with deploy/prometheus.yml, and its queries give what the pages say."""
import json
import subprocess
import urllib.parse

from testbed import REPOSITORY, Replica, check, free_port, metrics, need, request, start, wait_for

prometheus, promtool = need("prometheus", "prometheus"), need("promtool", "prometheus")
replicas = [Replica("--api_key=secret"), Replica("--api_key=secret")]
key = {"Authorization": "Bearer secret"}
page = lambda r: metrics(r.port, key)

with open(f"{REPOSITORY}/deploy/prometheus.yml", encoding="utf-8") as f:
    config = f.read()
for old, new in [("127.0.0.1:23333", f"127.0.0.1:{replicas[0].port}"), ("127.0.0.1:23334", f"127.0.0.1:{replicas[1].port}"),
                 ("scrape_interval: 15s", "scrape_interval: 1s"), ("    # authorization:", "    authorization:"),
                 ("    #   credentials_file: /etc/prometheus/puyu.key", "      credentials_file: puyu.key")]:
    check(config.count(old) == 1, "deploy/prometheus.yml: expected once:", old)
    config = config.replace(old, new)
with open("prometheus.yml", "w", encoding="utf-8") as f:
    f.write(config)
with open("puyu.key", "w", encoding="utf-8") as f:
    f.write("secret")
subprocess.run([promtool, "check", "config", "prometheus.yml"], check=True, capture_output=True)
# What Prometheus' own linter says of names, types and help texts.
lint = subprocess.run([promtool, "check", "metrics"], input=request(replicas[0].port, "/metrics", headers=key)[1], text=True,
                      capture_output=True)
check(lint.returncode == 0 and not lint.stdout + lint.stderr, lint.stdout, lint.stderr)

port = free_port()
start(prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", f"--web.listen-address=127.0.0.1:{port}",
      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def query(q):
    """The values by instance; of an aggregate the only one."""
    status, text = request(port, "/api/v1/query?" + urllib.parse.urlencode({"query": q}))
    check(status == 200, q, text)
    return {r["metric"].get("instance", ""): float(r["value"][1]) for r in json.loads(text)["data"]["result"]}


wait_for("prometheus", lambda: request(port, "/-/ready")[0] == 200)
wait_for("the replicas", lambda: query("up") == {f"127.0.0.1:{r.port}": 1.0 for r in replicas})
for i in range(6):  # two thirds to the first replica, all the same prompt
    body = {"model": "tiny", "messages": [{"role": "user", "content": "the cat sat on the mat " * 12}], "max_tokens": 20 + i, "ignore_eos": True}
    status, text = request(replicas[i % 3 // 2].port, "/v1/chat/completions", body, key)
    check(status == 200, text)
check(request(replicas[1].port, "/v1/chat/completions", {}, key)[0] == 400, "an empty body")

pages = [page(r) for r in replicas]
instance = [f"127.0.0.1:{r.port}" for r in replicas]
both = lambda name: {at: p[name] for at, p in zip(instance, pages)}
check(sum(both("puyu_answer_tokens_total").values()) == sum(20 + i for i in range(6)), both("puyu_answer_tokens_total"))
for name in ["puyu_answer_tokens_total", "puyu_prompt_tokens_total", 'puyu_answers_total{reason="length"}', "puyu_requests_pending",
             "puyu_sequences_running", "puyu_sequences_waiting", "puyu_kv_tokens_capacity", "puyu_kv_tokens_used",
             "puyu_prefix_cache_hits_total", "puyu_prefix_cache_queries_total", "puyu_queue_seconds_count",
             "puyu_time_to_first_token_seconds_count", "puyu_time_per_output_token_seconds_count", "puyu_answer_seconds_count",
             "puyu_answer_seconds_sum"]:
    wait_for(name, lambda: query(name) == both(name))
check(query('puyu_refused_total{status="400"}') == {instance[1]: 1.0}, "refused")
# The questions of docs/serving.md.
rate = query("sum(puyu_prefix_cache_hits_total) / sum(puyu_prefix_cache_queries_total)")[""]
hits, looked = (sum(both(f"puyu_prefix_cache_{x}_total").values()) for x in ("hits", "queries"))
check(abs(rate - hits / looked) < 1e-12 and 0 < rate < 1, "hit rate", rate)
for name in ["puyu_queue_seconds", "puyu_time_to_first_token_seconds", "puyu_time_per_output_token_seconds", "puyu_answer_seconds"]:
    p50, p99 = (query(f"histogram_quantile({q}, sum by (le) ({name}_bucket))")[""] for q in (0.5, 0.99))
    check(0 < p50 <= p99 <= 600, name, p50, p99)
check(query("sum(puyu_kv_tokens_used) / sum(puyu_kv_tokens_capacity)")[""] == 0, "the cache of idle servers is not in use")

replicas[0].kill()
wait_for("its absence", lambda: query("up") == {instance[0]: 0.0, instance[1]: 1.0})

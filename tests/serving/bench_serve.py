"""puyu bench serve against real servers: its arithmetic against Python's own, its filter, its failures."""
import json
import math
import statistics
import subprocess

from testbed import MODEL, PUYU, Replica, check, metrics, puyu, request, start, wait_for


def near(a, b):
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def verify(report):
    """Every number of the report from its per-request lists."""
    fine = [i for i, e in enumerate(report["errors"]) if not e]
    check(len(fine) == report["completed"] and len(report["errors"]) - len(fine) == report["failed"], "counts")
    pick = lambda key: [report[key][i] for i in fine]
    with_text = [i for i in fine if report["ttfts"][i] > 0]
    series = {
        "e2e_latency": pick("latencies"),
        "ttft": [report["ttfts"][i] for i in with_text],
        "tpot": [(report["latencies"][i] - report["ttfts"][i]) / (report["output_lens"][i] - 1)
                 for i in with_text if report["output_lens"][i] > 1],
        "itl": [s for i in fine for s in report["itls"][i]],
    }
    for name, values in series.items():
        check(len(values) > 1, name, "has no values")
        check(near(report[f"mean_{name}_ms"], statistics.fmean(values) * 1e3), "mean", name)
        check(near(report[f"median_{name}_ms"], statistics.median(values) * 1e3), "median", name)
        check(near(report[f"std_{name}_ms"], statistics.pstdev(values) * 1e3), "std", name)
        check(near(report[f"p99_{name}_ms"], statistics.quantiles(values, n=100, method="inclusive")[98] * 1e3), "p99", name)
    for i in with_text:
        check(report["ttfts"][i] + sum(report["itls"][i]) <= report["latencies"][i], "times of request", i)
        check(report["starts"][i] + report["latencies"][i] <= report["duration"], "the end of request", i)
    check(report["total_input_tokens"] == sum(pick("input_lens")), "input tokens")
    check(report["total_output_tokens"] == sum(pick("output_lens")), "output tokens")
    for rate, count in [("request", len(fine)), ("input", sum(pick("input_lens"))), ("output", sum(pick("output_lens")))]:
        check(near(report[f"{rate}_throughput"], count / report["duration"]), rate, "throughput")
    reasons = {}
    for e in report["errors"]:
        if e:
            reasons[e] = reasons.get(e, 0) + 1
    check(report["failures"] == reasons, "reasons", report["failures"], reasons)


def bench(*args, code=0):
    out = puyu("bench", "serve", *args, "--output", "out.json", code=code)
    with open("out.json", encoding="utf-8") as f:
        report = json.load(f)
    verify(report)
    return out, report


server = Replica()

# Random prompts: exactly as long as asked for, and what the server counted is what the report says.
out, report = bench("--url", server.url, "--num-prompts", "40", "--random-input-len", "60", "--random-output-len", "20",
                    "--random-range-ratio", "0.5", "--max-concurrency", "8", "--warmup=false")
check(report["completed"] == 40 and report["failed"] == 0, out)
check(all(30 <= n <= 60 for n in report["input_lens"]) and all(10 <= n <= 20 for n in report["output_lens"]), "lengths")
check(len(set(report["input_lens"])) > 5 and report["peak_concurrent_requests"] == 8, "spread")
counted = metrics(server.port)
check(counted["puyu_answer_tokens_total"] == report["total_output_tokens"], "the server's tokens")
check(counted["puyu_prompt_tokens_total"] == report["total_input_tokens"], "the server's prompt tokens")
for line in ["============ Serving Benchmark Result ============", "Successful requests:                     40",
             f"Total generated tokens:                  {report['total_output_tokens']}",
             f"Mean TTFT (ms):                          {report['mean_ttft_ms']:.2f}",
             f"P99 ITL (ms):                            {report['p99_itl_ms']:.2f}",
             "-----Time per Output Token (excl. 1st token)------"]:
    check(line in out, "no line", line, "in", out)

# The same seed sends the same requests; chat and a Poisson rate; --json.
same = [bench("--url", server.url, "--num-prompts", "12", "--random-input-len", "40", "--random-output-len", "8", "--api", "chat",
              "--request-rate", "100", "--seed", "5", "--json") for _ in range(2)]
check(same[0][1]["input_lens"] == same[1][1]["input_lens"], "the seed")
check(json.loads(same[0][0])["completed"] == 12, "--json")

# ShareGPT's files, filtered as LMDeploy does it: here once more, in Python, with the server's tokenizer.
words = "the cat sat on the mat hello world 大模型 从原始文本 到对话".split(" ")
text = lambda i, n: " ".join(words[(i * 5 + k) % len(words)] for k in range(n))
turns = lambda *values: {"id": "x", "conversations": [{"from": "human" if k % 2 == 0 else "gpt", "value": v} for k, v in enumerate(values)]}
talks = [turns(text(i, 1 + i % 40), text(i, 1 + (i * 7) % 25)) for i in range(60)]
talks += [turns(q, a) for q in ["q", "qx", "qxj", "qxjv", "qxjvw"] for a in ["x", "xq", "xqj", "xqjv"]]  # about the bound of 4
talks += [turns("", "an empty question"), turns("hello world the cat sat", ""), turns("one turn only"), turns(), turns("a", "b"),
          turns(text(1, 20), text(2, 20), text(3, 900)), turns(text(1, 900), text(1, 9)), turns(text(2, 20), text(4, 1500))]
with open("talks.json", "w", encoding="utf-8") as f:
    json.dump(talks, f, ensure_ascii=False)
count = lambda s: json.loads(request(server.port, "/tokenize", {"prompt": s})[1])["count"]
kept = []
for talk in talks:
    if len(talk["conversations"]) < 2:
        continue
    a, b = (count(t["value"]) for t in talk["conversations"][:2])
    if a >= 4 and b >= 4 and a <= 1024 and a + b <= 2048:
        kept.append((a, b))
check(20 < len(kept) < len(talks) - 15, "the filter of this test keeps", len(kept))
_, report = bench("--url", server.url, "--dataset", "talks.json", "--num-prompts", "1000", "--tokenizer", MODEL)
# An answer may be as long as the context lets it be, so the prompts are what is compared.
check(sorted(report["input_lens"]) == sorted(a for a, b in kept if a + 1 <= 512), report["input_lens"], kept)
_, fewer = bench("--url", server.url, "--dataset", "sharegpt", "--dataset-path", "talks.json", "--num-prompts", "9",
                 "--sharegpt-output-len", "6")
check(fewer["completed"] == 9 and set(fewer["output_lens"]) == {6}, "--sharegpt-output-len")
with open("broken.json", "w", encoding="utf-8") as f:
    json.dump([turns("a", "b"), {"text": "x"}], f)
puyu("bench", "serve", "--url", server.url, "--dataset", "broken.json", code=1)

# A server of its own.
_, own = bench(MODEL, "--num-prompts", "10", "--random-input-len", "30", "--random-output-len", "5")
check(own["completed"] == 10, "MODEL")

# Failures are counted with their reasons and are in no other number.
busy = Replica("--max_queue=2")
_, report = bench("--url", busy.url, "--num-prompts", "60", "--random-input-len", "20", "--random-output-len", "40",
                  "--max-concurrency", "30")
check(report["failed"] > 0 and report["completed"] > 0 and report["completed"] + report["failed"] == 60, "busy", report["failures"])
check(all(e.startswith("429: the queue of 2 requests is full") for e in report["failures"]), report["failures"])

# A server that dies: everything is accounted for.
dying = Replica()
load = start(PUYU, "bench", "serve", "--url", dying.url, "--num-prompts", "4000", "--random-input-len", "20",
             "--random-output-len", "200", "--max-concurrency", "8", "--output", "dead.json", stdout=subprocess.DEVNULL,
             stderr=subprocess.DEVNULL)
wait_for("answers", lambda: metrics(dying.port)['puyu_answers_total{reason="length"}'] > 5)
dying.kill()
check(load.wait(300) == 0, "bench serve ended with", load.returncode)
with open("dead.json", encoding="utf-8") as f:
    report = json.load(f)
check(report["completed"] + report["failed"] == 4000 and report["failed"] > 0, "dead", report["failures"])
check(report["completed"] > 0, "nothing was answered before the end")
check("connect: Connection refused" in report["failures"], report["failures"])

# Bad use.
for bad in [["--num-prompts", "0"], ["--request-rate", "-1"], ["--api", "x"], ["--random-range-ratio", "2"], ["--dataset", "sharegpt"]]:
    puyu("bench", "serve", "--url", server.url, *bad, code=2)
puyu("bench", "serve", code=2)
puyu("bench", "serve", "--url", dying.url, "--num-prompts", "3", code=1)

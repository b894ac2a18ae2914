"""puyu eval of a model behind HTTP gives the numbers of the same model in the process, sample by sample."""
import json
import os

from testbed import MODEL, Replica, check, puyu

os.mkdir("data")


def write(name, rows):
    with open(f"data/{name}", "w", encoding="utf-8") as f:
        f.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)


words = "the cat sat on the mat hello world 大模型 从原始文本 到对话 🐉".split(" ")
text = lambda i, n: " ".join(words[(i * 7 + k * 3) % len(words)] for k in range(n))
write("valid.jsonl", [{"id": f"d{i}", "content": text(i, 12 + i), "language": "en" if i % 2 else "zh"} for i in range(20)])
write("choice.jsonl", [{"prompt": f"{text(i, 5)}\nAnswer: ", "choices": [text(i + k, 2) for k in range(4)], "answer": i % 4}
                       for i in range(20)] +
      [{"messages": [{"role": "system", "content": "choose"}, {"role": "user", "content": text(i, 4)}],
        "choices": ["yes", "no", "不"], "answer": "no"} for i in range(10)])
write("arithmetic-100.jsonl", [{"messages": [{"role": "user", "content": f"{i} + {i} = ?"}], "answer": str(2 * i)} for i in range(20)])
write("manpages.jsonl", [{"prompt": f"{text(i, 3)} does", "answer": text(i, 2)} for i in range(20)])

TASKS = ["perplexity", "choice", "arithmetic-100", "manpages"]
local = json.loads(puyu("eval", *TASKS, "--model", MODEL, "--data", "data", "--out", "local", "--chunk_bytes=64", "--json"))
server = Replica("--api_key=secret")
key = dict(os.environ, PUYU_API_KEY="secret")
remote = json.loads(puyu("eval", *TASKS, "--model", server.url, "--data", "data", "--out", "remote", "--chunk_bytes=64", "--json",
                         env=key))
for results in (local, remote):
    for task in results:
        del task["seconds"]
check(local == remote, "results differ:", local, remote)
for task in TASKS:
    a, b = (open(f"{out}/{task}.samples.jsonl", encoding="utf-8").read() for out in ("local", "remote"))
    check(a == b, task, "samples differ")
    check(a.count("\n") >= 20, task, "has too few samples")
check("secret" not in open("remote/results.json", encoding="utf-8").read(), "the key stands in results.json")
puyu("eval", "choice", "--model", server.url, "--data", "data", code=1, env=dict(os.environ, PUYU_API_KEY="wrong"))
print("tasks", len(TASKS), "equal")

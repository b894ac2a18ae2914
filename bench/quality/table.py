# The results of run.sh as a table, and whether they are within their bounds: table.py NAME... reads NAME.json. Perplexity, and how much
# more than bf16's. Exit code 1 when a bound is broken.
import json, sys

# Relative to bf16, in any language.
BOUNDS = {"f32": 0.001, "bf16": 0, "w8a8": 0.003, "w4a16": 0.015, "kv8": 0.001, "kv4": 0.012, "w8a8-kv8": 0.003, "w4a16-kv4": 0.025}
LANGUAGES = ("en", "zh", "code")


def perplexities(name):
    with open(name + ".json", encoding="utf-8") as f:
        results = json.load(f)[0]["results"]
    return {r["subject"]: r["value"] for r in results if r["metric"] == "perplexity" and "subject" in r}


base, bad = perplexities("bf16"), []
print("| weights, cache | " + " | ".join(LANGUAGES) + " | bound |\n|---" + "|---" * (len(LANGUAGES) + 1) + "|")
for name in sys.argv[1:]:
    cells = []
    for language, value in perplexities(name).items():
        more = value / base[language] - 1
        cells.append((LANGUAGES.index(language), f"{value:.2f} ({100 * more:+.2f} %)"))
        if abs(more) > BOUNDS[name]:
            bad.append(f"{name}, {language}: {100 * more:+.2f} %, bound {100 * BOUNDS[name]} %")
    print(f"| {name} | " + " | ".join(text for _, text in sorted(cells)) + f" | ± {100 * BOUNDS[name]:g} % |")
sys.exit("over the bound: " + "; ".join(bad) if bad else 0)

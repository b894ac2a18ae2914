#!/usr/bin/env bash
# What quantised weights and caches cost in perplexity, on a model that is really trained: run.sh PUYU DIR
# Takes Debian's text (scripts/fetch_corpus.sh, docs/corpus.md), trains model.toml on it, and measures held-out English, Chinese and
# code with weights and cache in bf16, 8 and 4 bits. A second run trains nothing again. DIR gets 200 MB.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
puyu=$(realpath "${1:?usage: run.sh PUYU DIR}") dir=${2:?usage: run.sh PUYU DIR}
mkdir -p "$dir"
cd "$dir"
"$here/../../scripts/fetch_corpus.sh" corpus
[ -f clean/funnel.json ] || "$puyu" data run --input=corpus --out clean
[ -f tokenizer.puyu ] || { printf 'inputs = ["clean"]\nvocab_size = 4096\ncharacter_coverage = 0.997\n' >tokenizer.toml
  "$puyu" tokenizer train tokenizer.toml --out tokenizer.puyu; }
[ -f tokens/train.tok ] || "$puyu" data tokenize clean --tokenizer tokenizer.puyu --out tokens
if [ ! -f run/model/model.safetensors ]; then
  cp "$here/model.toml" model.toml
  printf '\n[[data]]\nname = "train"\npath = "tokens/train.tok"\n' >>model.toml
  for language in en zh code; do printf '\n[[valid]]\nname = "%s"\npath = "tokens/valid-%s.tok"\n' $language $language >>model.toml; done
  "$puyu" train model.toml --out run --tokenizer=tokenizer.puyu $([ -d run/checkpoints ] && echo --resume)
fi
measure() {  # NAME OPTION...
  local name=$1
  shift
  "$puyu" eval perplexity --model run/model --data tokens --json "$@" >"$name.json"
}
e=--run.engine
measure f32 --run.dtype=f32
measure bf16
measure w8a8 $e.weights=w8a8
measure w4a16 $e.weights=w4a16
measure kv8 $e.kv_bits=8
measure kv4 $e.kv_bits=4
measure w8a8-kv8 $e.weights=w8a8 $e.kv_bits=8
measure w4a16-kv4 $e.weights=w4a16 $e.kv_bits=4
python3 "$here/table.py" f32 bf16 w8a8 w4a16 kv8 kv4 w8a8-kv8 w4a16-kv4

#!/usr/bin/env bash
# llama.cpp beside puyu on one model, alternately: llama_cpp.sh PUYU MODEL [ROUNDS]. Both print medians of a prompt of 512, of decoding
# 32 tokens, and of 16 sequences decoding at once. MODEL: a folder of InternLM2-1.8B's shape (random weights will do).
# $PUYU_PEERS: a folder where `npm install node-llama-cpp@3.22.1` was run. Needs 9 GB in $TMPDIR.
set -euo pipefail
puyu=$1 model=$2 rounds=${3:-5}
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ln -s "${PUYU_PEERS:?expected the folder of node-llama-cpp}/node_modules" "$dir/node_modules"
cp "$here/llama_cpp.mjs" "$dir/"
for type in bf16 q8_0 q4_0; do "$puyu" convert "$model" "$dir/$type.gguf" --to gguf --dtype $type; done
for turn in 1 2; do
  echo "# turn $turn, load $(cut -d' ' -f1-3 /proc/loadavg)"
  "$puyu" bench generate --size=1.8b --rounds="$rounds" --generate=32 --batch=1,16 --prompt=512
  (cd "$dir" && node llama_cpp.mjs 2 "$rounds" "$dir"/{bf16,q8_0,q4_0}.gguf)
done

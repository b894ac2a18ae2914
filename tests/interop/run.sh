#!/usr/bin/env bash
# One script against llama.cpp (npm node-llama-cpp, 745 MB, so not installed by default): run.sh PUYU TINY_MODEL
# SCRIPT.mjs. $PUYU_PEERS names the folder whose node_modules holds it. Exit code 77: skipped.
set -euo pipefail
puyu=$1 make_model=$2 script=$3
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "skipped: $*"; exit 77; }
command -v node >/dev/null || skip "no node here"
[ -d "${PUYU_PEERS:-}/node_modules/node-llama-cpp" ] ||
  skip "llama.cpp is not there (npm install node-llama-cpp@3.22.1 in a folder, then PUYU_PEERS=that folder)"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$make_model" "$scratch/tiny"
cp "$here"/*.mjs "$scratch/"
ln -s "$PUYU_PEERS/node_modules" "$scratch/node_modules"  # where node looks for packages
cd "$scratch"
PUYU=$puyu MODEL=$scratch/tiny MAKE_MODEL=$make_model node "$script"

#!/usr/bin/env bash
# One script that holds puyu against another program: run.sh PUYU MAKE_MODEL PROBE SCRIPT. Exit code 77: skipped.
#   SCRIPT.mjs: llama.cpp by npm node-llama-cpp (745 MB, so not installed by default); $PUYU_PEERS names the folder whose node_modules
#   holds it. SCRIPT.py: PyTorch as in Debian's python3-torch (not installed by default either).
set -euo pipefail
export PUYU=$1 MAKE_MODEL=$2 PROBE=$3
script=$4
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "skipped: $*"; exit 77; }
SCRATCH=$(mktemp -d)
export SCRATCH
trap 'rm -rf "$SCRATCH"' EXIT
if [[ $script = *.py ]]; then
  for python in python3 /usr/bin/python3 ""; do  # another python3 may stand before Debian's
    [ -n "$python" ] || skip "PyTorch is not there (apt-get install python3-torch)"
    "$python" -c 'import torch' 2>/dev/null && break
  done
  # Debian's OpenBLAS does not know the newest processors.
  env OPENBLAS_CORETYPE="${OPENBLAS_CORETYPE:-Haswell}" PYTHONDONTWRITEBYTECODE=1 "$python" "$here/$script"
fi
command -v node >/dev/null || skip "no node here"
[ -d "${PUYU_PEERS:-}/node_modules/node-llama-cpp" ] ||
  skip "llama.cpp is not there (npm install node-llama-cpp@3.22.1 in a folder, then PUYU_PEERS=that folder)"
cp "$here"/*.mjs "$here/prompts.json" "$SCRATCH/"
ln -s "$PUYU_PEERS/node_modules" "$SCRATCH/node_modules"  # where node looks for packages
cd "$SCRATCH"
node "$script"

#!/usr/bin/env bash
# The load test: run.sh PUYU TINY_MODEL. Exit code 77: skipped. PUYU_LOAD_SECONDS=600 is its long form.
set -euo pipefail
puyu=$1 make_model=$2
command -v node >/dev/null || { echo "skipped: no node here; the load test runs on it"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$make_model" "$scratch/tiny"
"$make_model" "$scratch/reward" reward
PUYU=$puyu MODEL=$scratch/tiny REWARD_MODEL=$scratch/reward node "$(dirname "$0")/${3:-load.mjs}"

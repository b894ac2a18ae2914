#!/usr/bin/env bash
# One conformance script against the real server: run.sh PUYU TINY_MODEL BUILD_DIR SCRIPT.mjs. Exit code 77: skipped.
set -euo pipefail
puyu=$1 make_model=$2 dir=$3/conformance script=$4
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "skipped: $*"; exit 77; }
command -v node >/dev/null || skip "no node here; the public clients of the APIs run on it"
cmp -s "$here/package-lock.json" "$dir/package-lock.json" && [ -d "$dir/node_modules/openai" ] ||
  skip "the npm clients are not installed (scripts/install.sh test does it, where npm and its registry are)"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$make_model" "$scratch/tiny"
cp "$here"/*.mjs "$dir/"  # beside node_modules, where node looks for packages
cd "$dir"
export OMP_WAIT_POLICY=passive  # as in ./test: on shared cores a waiting thread must not spin
PUYU=$puyu MODEL=$scratch/tiny node "$script"

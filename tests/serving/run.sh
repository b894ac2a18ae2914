#!/usr/bin/env bash
# One script against real servers of a tiny model: run.sh PUYU TINY_MODEL SCRIPT.py. Exit code 77: skipped.
set -euo pipefail
puyu=$1 make_model=$2 script=$3
here=$(cd "$(dirname "$0")" && pwd)
command -v python3 >/dev/null || { echo "skipped: no python3 here, which drives these tests"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$make_model" "$scratch/tiny"
cd "$scratch"
# Three servers and a proxy share the cores: one thread each.
OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 PUYU=$puyu MODEL=$scratch/tiny python3 "$here/$script"

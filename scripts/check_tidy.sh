#!/usr/bin/env bash
# clang-tidy 19 on the library sources (not on tests), with the compile database of the release build.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files 'src/*.cc' | grep -vE '(_test|_bench)\.cc$|src/kernels/cpu/' |
  xargs -P 2 -n 6 clang-tidy-19 -p build/release --quiet --warnings-as-errors='*' 2>&1 | grep -vE '^[0-9]+ warnings? generated|^Suppressed|^Use -header' || true
[ "${PIPESTATUS[1]}" = 0 ] || { echo "tidy: problems above"; exit 1; }
echo "tidy: clean"

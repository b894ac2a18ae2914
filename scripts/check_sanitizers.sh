#!/usr/bin/env bash
# ASan + UBSan build; runs the fast tests, the fuzz targets among them. libgomp keeps its threads' memory to the end,
# which is no leak of ours (scripts/lsan.supp).
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --preset asan >/dev/null
cmake --build --preset asan
export OMP_WAIT_POLICY=passive  # two tests at a time share the cores
ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=suppressions=$PWD/scripts/lsan.supp:print_suppressions=0 \
  UBSAN_OPTIONS=print_stacktrace=1 ctest --test-dir build/asan --output-on-failure --no-tests=error -j 2 -L fast "$@"

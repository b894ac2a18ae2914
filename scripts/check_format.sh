#!/usr/bin/env bash
# clang-format 19 over every source file; prints the files that differ.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files 'src/*.h' 'src/*.cc' 'src/*.cu' 'src/*.cuh' 'bench/*.cc' 'bench/*.h' 'fuzz/*.cc' 'tests/*.cc' | xargs -r clang-format-19 --dry-run -Werror
echo "format: clean"

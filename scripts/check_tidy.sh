#!/usr/bin/env bash
# clang-tidy 19 over the library sources (not tests) with the compile database of the release build. A file that was
# clean before, with the same bytes, includes and checks, is not looked at again (stamps in build/release/tidy).
#   scripts/check_tidy.sh            every file        scripts/check_tidy.sh src/base/json.cc …   these only
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/release
[ -f $build/compile_commands.json ] || cmake --preset release >/dev/null
mkdir -p $build/tidy/include
# clang 19 has no omp.h without its own OpenMP, and trips over an attribute in gcc's.
sed -E 's/__malloc__ \(omp_[a-z_]+\)/__malloc__/' "$(g++ -print-file-name=include/omp.h)" >$build/tidy/include/omp.h

# src/kernels/cpu is compiled once per instruction set with gcc's vector extensions and flags that clang lacks.
if [ $# = 0 ]; then
  mapfile -t files < <(git ls-files 'src/*.cc' 'fuzz/*.cc' | grep -vE '(_test|_bench)\.cc$|^src/kernels/cpu/')
else
  files=("$@")
fi
# One sum for what every file may include: a changed header looks at everything again.
shared=$({ cat .clang-tidy; git ls-files 'src/*.h' 'src/*.inc' | xargs cat; clang-tidy-19 --version; } | sha1sum | cut -c1-16)

check_one() {
  local stamp
  stamp=$build/tidy/$(cat "$1" | sha1sum | cut -c1-16)-$shared
  [ -f "$stamp" ] && return 0
  grep -qF "/$1\"" $build/compile_commands.json || return 0  # not part of this build
  if out=$(clang-tidy-19 -p $build --quiet --warnings-as-errors='*' --extra-arg=-isystem$PWD/$build/tidy/include "$1" 2>/dev/null); then
    touch "$stamp"
  else
    printf '%s\n' "$out"
    return 1
  fi
}
export -f check_one
export build shared
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -I{} bash -c 'check_one {}' || { echo "tidy: problems above"; exit 1; }
echo "tidy: clean (${#files[@]} files)"

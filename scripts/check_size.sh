#!/usr/bin/env bash
# Lists source files above 500 lines and functions above 80 lines; a file above 600 lines fails. A function is counted
# from the line that opens it at the margin to the "}" at the margin (clang-format puts both there).
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
while read -r lines file; do
  [ "$lines" -gt 500 ] && echo "size: $file has $lines lines"
  [ "$lines" -gt 600 ] && bad=1
done < <(git ls-files '*.cc' '*.h' '*.inc' '*.cu' '*.cuh' | xargs wc -l | grep -v ' total$')
git ls-files 'src/*.cc' 'fuzz/*.cc' | grep -v '_test\.cc$' | xargs awk '
  FNR == 1 { start = 0 }
  /^[A-Za-z].*[({,]$/ && !/^(namespace|extern|struct|class|enum|const|constexpr|static const|using)/ { if (!start) start = FNR }
  /^}/ { if (start && FNR - start > 80) printf "size: %s:%d: a function of %d lines\n", FILENAME, start, FNR - start; start = 0 }
  /^[A-Za-z].*;$/ { start = 0 }'
[ $bad = 0 ] && echo "size: no file above 600 lines"
exit $bad

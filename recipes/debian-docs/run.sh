#!/usr/bin/env bash
# Documentation from Debian 12 packages to token shards: fetch, clean and deduplicate, cut repeated lines, train a
# tokenizer, tokenize, report. Nothing is installed. Usage: recipes/debian-docs/run.sh [DIR] [MORE_TEXT...]
# DIR (default .cache/debian-docs) gets in/ (a folder a source), run/, clean/, tokenizer.puyu, tokens/, report.html and
# timings.txt. MORE_TEXT are files or folders that 'puyu data run' reads; each is a source of its own. WORKERS=N sets the
# processes (default: all cores), PUYU=FILE the program. A second run does what is missing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${1:-$root/.cache/debian-docs}
[ $# -gt 0 ] && shift
puyu=${PUYU:-$root/build/release/puyu}
workers=${WORKERS:-$(nproc)}
[ -x "$puyu" ] || { echo "recipe: no $puyu; build it first (./quickstart or ninja -C build/release puyu)" >&2; exit 1; }
mkdir -p "$dir/in" "$dir/.done"
dir=$(cd "$dir" && pwd)

# package, source, folder below usr/share, name pattern
sources='
linux-doc-6.1 linux-doc doc/linux-doc-6.1/html *.html
python3.11-doc python-doc doc/python3.11/html *.html
perl-doc perl-doc perl *.pod
postgresql-doc-15 postgresql-doc doc/postgresql-doc-15/html *.html
sqlite3-doc sqlite-doc doc/sqlite3 *.html
cppreference-doc-en-html cppreference cppreference/doc/html/en *.html
debian-handbook handbook-en doc/debian-handbook/html/en-US *.html
debian-handbook handbook-zh doc/debian-handbook/html/zh-CN *.html
kicad-doc-zh kicad-zh doc/kicad/help/zh *.html
libreoffice-help-zh-cn libreoffice-zh libreoffice/help/zh-CN *.html
'

fetch() {
  local work package source folder pattern
  work=$(mktemp -d "$dir/.fetch.XXXXXX")
  trap 'rm -rf "$work"' RETURN
  while read -r package source folder pattern; do
    [ -n "$package" ] && [ ! -e "$dir/.done/$source" ] || continue
    if [ ! -d "$work/$package" ]; then
      (cd "$work" && apt-get download -q "$package" >log 2>&1) || {
        echo "recipe: apt-get could not download $package: $(grep -m1 '^E:' "$work/log" || tail -n1 "$work/log")" >&2
        exit 1
      }
      mkdir "$work/$package"
      dpkg -x "$work/$package"_*.deb "$work/$package"
    fi
    mkdir -p "$dir/in/$source"
    (cd "$work/$package/usr/share/$folder" && find . -type f -name "$pattern" -print0 | tar --null -T - -cf -) |
      tar -C "$dir/in/$source" -xf -
    touch "$dir/.done/$source"
  done <<<"$sources"
  "$root/scripts/fetch_corpus.sh" "$dir/base"  # manual pages, poems, program text
  for source in man-en man-zh debian-reference-en debian-reference-zh poems-zh python-code cpp-code; do
    [ -e "$dir/in/$source" ] || ln -s "$dir/base/$source" "$dir/in/$source"
  done
}

# time_of NAME COMMAND…: runs it, notes the seconds.
time_of() {
  local name=$1 start end
  shift
  start=$(date +%s.%N)
  "$@"
  end=$(date +%s.%N)
  awk -v n="$name" -v s="$start" -v e="$end" 'BEGIN { printf "%-24s %8.1f s\n", n, e - s }' >>"$dir/timings.txt"
}

fetch
more=""
for text in "$@"; do more+=",$text"; done
: >"$dir/timings.txt"
time_of "data run" "$puyu" data run "$here/recipe.toml" "--input=$dir/in$more" --out "$dir/run" --workers "$workers"
time_of "data repeated-lines" "$puyu" data repeated-lines "$dir/run" --out "$dir/clean"
shards=$(printf '%s,' "$dir"/clean/docs-*.jsonl.zst)  # not the ledger beside them
time_of "tokenizer train" "$puyu" tokenizer train "$here/tokenizer.toml" "--inputs=${shards%,}" --out "$dir/tokenizer.puyu"
time_of "data tokenize" "$puyu" data tokenize "$dir/clean" --tokenizer "$dir/tokenizer.puyu" --out "$dir/tokens" --workers "$workers"
"$puyu" data report "$dir/run" --out "$dir/report.html"
echo
echo "in: $(du -shcL "$dir"/in/* | tail -n1 | cut -f1) on disk; $workers processes"
cat "$dir/timings.txt"

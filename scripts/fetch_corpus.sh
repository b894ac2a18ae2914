#!/usr/bin/env bash
# Takes real text from Debian 12 packages into a cache folder: nothing is installed. Usage: scripts/fetch_corpus.sh [DIR]
# DIR (default .cache/corpus) gets one folder a source: man-en man-zh python-doc debian-reference-en debian-reference-zh
# poems-zh python-code cpp-code. A second run does nothing. Sources, licences and sizes: docs/corpus.md.
set -euo pipefail

dir=${1:-.cache/corpus}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
packages="manpages manpages-dev coreutils util-linux findutils grep sed tar gzip procps manpages-zh python3.11-doc
debian-reference-en debian-reference-zh-cn fortunes-zh libpython3.11-minimal libpython3.11-stdlib libstdc++-12-dev"

# The text of an unpacked package, $1, goes to folders below $2; what is not text of ours is left behind.
take_text() {
  local x=$1 out=$2
  case $3 in
    manpages-zh) copy_tree "$x/usr/share/man/zh_CN" "$out/man-zh" -name '*.gz' ;;
    python3.11-doc) copy_tree "$x/usr/share/doc/python3.11/html/_sources" "$out/python-doc" -name '*.txt' ;;
    debian-reference-en) copy_tree "$x/usr/share/debian-reference" "$out/debian-reference-en" -name '*.en.txt.gz' ;;
    debian-reference-zh-cn) copy_tree "$x/usr/share/debian-reference" "$out/debian-reference-zh" -name '*.zh-cn.txt.gz' ;;
    fortunes-zh)
      mkdir -p "$out/poems-zh"
      for f in tang300 song100 chinese; do cp "$x/usr/share/games/fortunes/$f" "$out/poems-zh/$f.fortune"; done ;;
    libpython3.11-*)  # character tables and program data are no program text worth learning from
      copy_tree "$x/usr/lib/python3.11" "$out/python-code" -name '*.py' ! -path '*/encodings/*' ! -path '*/pydoc_data/*' ;;
    libstdc++-12-dev)  # without the policy-based data structures and the old parallel mode: many, and much alike
      copy_tree "$x/usr/include/c++/12" "$out/cpp-code" ! -path '*/pb_ds/*' ! -path '*/parallel/*' ! -path '*/tr1/*' ;;
    *) for n in 1 2 3 4 5 6 7 8; do copy_tree "$x/usr/share/man/man$n" "$out/man-en" -name '*.gz'; done ;;
  esac
}

# Copies the regular files below $1 that match the find expression $3… into $2, keeping sub-folders.
copy_tree() {
  local from=$1 to=$2
  shift 2
  [ -d "$from" ] || return 0
  mkdir -p "$to"
  (cd "$from" && find . -type f "$@" -print0 | tar --null -T - -cf -) | tar -C "$to" -xf -
}

missing=()
for p in $packages; do [ -e "$dir/.done/$p" ] || missing+=("$p"); done
[ ${#missing[@]} -eq 0 ] && { echo "corpus: $dir is complete"; exit 0; }

command -v apt-get >/dev/null && command -v dpkg >/dev/null || {
  echo "corpus: no apt-get or dpkg here; put your own text into a folder and use --corpus DIR instead" >&2
  exit 1
}
work=$(mktemp -d "$dir/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "corpus: fetching ${#missing[@]} packages into $dir"
if ! (cd "$work" && apt-get download -q "${missing[@]}") >"$work/log" 2>&1; then
  echo "corpus: apt-get could not download the packages: $(grep -m1 '^E:' "$work/log" || tail -n1 "$work/log")" >&2
  echo "corpus: check the network and 'apt-get update', or use --corpus DIR with your own text" >&2
  exit 1
fi
mkdir -p "$dir/.done"
for p in "${missing[@]}"; do
  rm -rf "$work/unpacked" "$work/text"
  mkdir -p "$work/unpacked" "$work/text"
  dpkg -x "$work/$p"_*.deb "$work/unpacked"
  take_text "$work/unpacked" "$work/text" "$p"
  cp -r --preserve=timestamps "$work/text/." "$dir/"
  dpkg-deb -f "$work/$p"_*.deb Version >"$dir/.done/$p"
done
rm -rf "$work"
cd "$dir"
echo "corpus: $(find ./* -type f | wc -l) files, $(du -shc ./* | tail -n1 | cut -f1) on disk"

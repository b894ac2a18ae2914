#!/usr/bin/env bash
# Installs what puyu builds and tests with, from Debian 12. Usage: scripts/install.sh [--check] build|test|ci
# --check: install nothing, only say what is missing (exit code 1 when something is).
set -euo pipefail

BUILD="g++ cmake ninja-build ccache pkg-config libtomlplusplus-dev libsimdjson-dev libboost-dev libicu-dev libcld2-dev
libgumbo-dev libxxhash-dev libzstd-dev zlib1g-dev libbz2-dev libbrotli-dev libedit-dev libopenmpi-dev openmpi-bin"
TEST="libgtest-dev libsentencepiece-dev libdnnl-dev libopenblas-dev python3 curl file haproxy openssl git slurm-wlm munge
zstd"
CI="clang-format-19 clang-tidy-19"

check=0
if [ "${1:-}" = --check ]; then check=1; shift; fi
case "${1:-build}" in
  build) want=$BUILD ;;
  test) want="$BUILD $TEST" ;;
  ci) want="$BUILD $TEST $CI" ;;
  *) echo "usage: scripts/install.sh [--check] build|test|ci" >&2; exit 2 ;;
esac

missing=()
for p in $want; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done

# The npm clients that the conformance tests run, from the lock file into the build folder. Not fatal: without them those
# tests are skipped.
install_clients() {
  local from to
  from=$(cd "$(dirname "$0")/../tests/conformance" && pwd)
  to=$from/../../build/release/conformance
  command -v npm >/dev/null || { echo "no npm here: the conformance tests will be skipped"; return 0; }
  cmp -s "$from/package-lock.json" "$to/package-lock.json" && [ -d "$to/node_modules" ] && return 0
  [ $check = 1 ] && { echo "the npm clients of tests/conformance are not installed"; return 0; }
  mkdir -p "$to" && cp "$from/package.json" "$from/package-lock.json" "$to/"
  (cd "$to" && npm ci --no-audit --no-fund --loglevel=error) ||
    { rm -f "$to/package-lock.json"; echo "npm ci failed: the conformance tests will be skipped"; }
}
[ "${1:-build}" = build ] || install_clients
[ ${#missing[@]} -eq 0 ] && exit 0
echo "puyu needs these Debian packages: ${missing[*]}"
[ $check = 1 ] && { echo "install them with: apt-get install ${missing[*]}"; exit 1; }
command -v apt-get >/dev/null || { echo "no apt-get here; install the packages above by hand" >&2; exit 1; }
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -q
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"

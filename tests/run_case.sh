#!/usr/bin/env bash
# One end-to-end case: run_case.sh PUYU FILE.case. A case is bash that runs in an empty folder, with these words:
#   run ARG…          runs puyu ARG…, keeps its exit code and output
#   code N            the exit code was N           out TEXT / err TEXT    stdout / stderr holds TEXT
#   no_crash          no CHECK, no sanitizer report, no signal (checked after every run)
#   skip WHY          this machine cannot run the case
set -uo pipefail
puyu=$1 case=$2
[ -f "$case" ] || { echo "run_case: no case $case" >&2; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
bad=0
complain() { echo "$(basename "$case"): $*"; bad=1; }
run() {
  command=$*
  "$puyu" "$@" >"$dir/.out" 2>"$dir/.err" </dev/null
  got=$?
  no_crash
}
no_crash() {
  [ "$got" -lt 128 ] || complain "'puyu $command' ended by a signal (code $got): $(head -c 600 .err)"
  ! grep -qE 'CHECK\(|AddressSanitizer|runtime error:|terminate called' .err || complain "$(head -c 2000 .err)"
}
code() { [ "$got" = "$1" ] || complain "'puyu $command': expected exit code $1, got $got: $(head -c 600 .err)"; }
out() { grep -qF -- "$1" .out || complain "'puyu $command': no '$1' in stdout: $(head -c 600 .out)"; }
err() { grep -qF -- "$1" .err || complain "'puyu $command': no '$1' in stderr: $(head -c 600 .err)"; }
skip() { echo "skipped: $*"; exit 77; }
# shellcheck disable=SC1090
source "$case"
exit $bad

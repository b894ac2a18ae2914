#!/usr/bin/env bash
# The order of the house (docs/tour.md): a folder includes only what stands before it.
set -euo pipefail
cd "$(dirname "$0")/../src"
declare -A may=(
  [base]="base"
  [tensor]="tensor base"
  [kernels]="kernels tensor base"
  [comm]="comm tensor base"
  [text]="text base"
  [data]="data text base"
  [model]="model kernels tensor base"
  [train]="train model comm data text kernels tensor base"
  [align]="align train model comm data text kernels tensor base"
  [engine]="engine model text kernels tensor base"
  [grammar]="grammar engine text base"
  [serve]="serve grammar engine model text kernels tensor base"
  [eval]="eval engine model text kernels tensor base"
  [agent]="agent engine model text kernels tensor base"
  [cli]="cli serve grammar eval agent align train engine data text model comm kernels tensor base"
)
bad=0
for dir in */; do
  dir=${dir%/}
  allowed=${may[$dir]:-}
  [ -n "$allowed" ] || { echo "layers: src/$dir is not in the house (scripts/check_layers.sh)"; bad=1; continue; }
  while IFS=: read -r file line inc; do
    to=$(sed -E 's/.*"([a-z]+)\/.*/\1/' <<<"$inc")
    case " $allowed " in *" $to "*) ;; *) echo "layers: src/$file:$line: $dir must not include $to/"; bad=1 ;; esac
  done < <(grep -rnE '^#include "[a-z]+/' "$dir" --include='*.h' --include='*.cc' --include='*.cu' --include='*.cuh' --include='*.inc' || true)
done
[ $bad = 0 ] && echo "layers: in order"
exit $bad

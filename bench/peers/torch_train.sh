#!/usr/bin/env bash
# Training steps beside PyTorch's (Debian: python3-torch, libopenblas0-openmp), alternately.
#   bench/peers/torch_train.sh build/release/puyu [turns] [rounds]
# PyTorch is tuned: one thread pool for it and OpenBLAS, AVX-512 in OpenBLAS, memory that is not given back after each step.
set -euo pipefail
puyu=${1:?path of puyu} turns=${2:-2} rounds=${3:-5} here=$(dirname "$0")
/usr/bin/python3 -c "import torch" 2>/dev/null || { echo "needs: apt-get install python3-torch libopenblas0-openmp"; exit 1; }
pytorch() {
  LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/openblas-openmp OPENBLAS_CORETYPE=SkylakeX MALLOC_MMAP_THRESHOLD_=4294967296 \
    MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456 /usr/bin/python3 "$here/torch_train.py" "$@" "$rounds"
}
for ((turn = 0; turn < turns; ++turn)); do
  for row in "20m bf16 8 256" "110m bf16 4 256" "20m f32 8 256" "110m f32 4 256" "110m bf16 4 1024" "110m bf16 1 4096"; do
    read -r shape dtype batch sequence <<<"$row"
    "$puyu" bench train --shapes="$shape" --dtype="$dtype" --sequence="$sequence" --tokens=$((batch * sequence)) --rounds="$rounds" --json |
      sed -E 's/.*"tokens_per_second": ?([0-9.]+).*/\1/' | xargs printf "puyu $shape $dtype $batch x $sequence: %.0f tok/s\n"
    pytorch "$shape" "$dtype" "$batch" "$sequence"
  done
done

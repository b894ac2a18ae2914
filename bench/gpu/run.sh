#!/usr/bin/env bash
# For a machine with an NVIDIA GPU, nvcc and cmake (nothing else of ours is needed): builds the computing half, checks
# every CUDA kernel against the reference and the invariants (same bits for a row whatever its batch, chunks or pages),
# measures each kernel against limits measured in the same run, and writes gpu.json and gpu.md. Ends within 8 minutes.
#   bench/gpu/run.sh [OUT]        default OUT: runs/gpu
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-runs/gpu}
mkdir -p "$out"
began=$SECONDS
left() { echo $((470 - (SECONDS - began))); }
say() { printf '%s\n' "$*" | tee -a "$out/log.txt"; }
: >"$out/log.txt"

command -v nvidia-smi >/dev/null || { say "no nvidia-smi here: this is no GPU machine"; exit 1; }
say "$(date -u +%FT%TZ) commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
nvidia-smi --query-gpu=name,driver_version,memory.total,power.limit,clocks.max.sm --format=csv | tee -a "$out/log.txt"

generator=()
command -v ninja >/dev/null && generator=(-G Ninja)
cmake "${generator[@]}" -S . -B build/gpu -DCMAKE_BUILD_TYPE=Release -DPUYU_CUDA=ON -DPUYU_COMPUTE_ONLY=ON -DPUYU_TESTS=OFF \
  -DPUYU_GPU_BENCH=ON >"$out/configure.log" 2>&1 || { tail -n 20 "$out/configure.log"; exit 1; }
grep -q "kernels for sm_90a\|CUDA: nvcc" "$out/configure.log" || { say "no nvcc was found (see $out/configure.log)"; exit 1; }
timeout "$(left)" cmake --build build/gpu --parallel "$(nproc)" --target gpu_check gpu_bench >"$out/build.log" 2>&1 ||
  { tail -n 20 "$out/build.log"; say "the build failed or took too long ($out/build.log)"; exit 1; }
say "built after $((SECONDS - began)) s"

code=0
timeout "$(left)" build/gpu/bench/gpu/gpu_check --only=/cuda_ --skip=emulated >"$out/check.log" 2>&1 || code=$?
say "check: $(tail -n 1 "$out/check.log") (exit $code, $out/check.log)"
if command -v compute-sanitizer >/dev/null && [ "$(left)" -gt 240 ]; then
  rc=0
  timeout 90 compute-sanitizer --error-exitcode 9 build/gpu/bench/gpu/gpu_check --only=Attention/cuda_bf16 \
    >"$out/sanitizer.log" 2>&1 || rc=$?
  say "compute-sanitizer on attention: exit $rc ($out/sanitizer.log)"
  [ $rc = 0 ] || code=1
else
  say "compute-sanitizer: not run (not installed, or no time left)"
fi
measure=$(($(left) - 20))
if [ $measure -gt 20 ]; then
  timeout "$(left)" build/gpu/bench/gpu/gpu_bench "$out/gpu.json" "$out/gpu.md" --seconds=$measure 2>&1 | tee -a "$out/log.txt" || code=1
else
  say "measurements: no time left; run again, the build is kept"
  code=1
fi
say "done after $((SECONDS - began)) s: $out/gpu.json $out/gpu.md"
exit $code

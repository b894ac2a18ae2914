#!/usr/bin/env bash
# Compiles the CUDA kernels and NCCL where there is an nvcc; says so where there is none. No GPU is needed.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
cmake --preset cuda -DPUYU_TESTS=ON >build/cuda.log 2>&1 || { tail -n 20 build/cuda.log; exit 1; }
if ! grep -q "CUDA: nvcc" build/cuda.log; then
  grep "CUDA:" build/cuda.log
  exit 0
fi
cmake --build --preset cuda --target puyu_kernels_cuda test_comm >build/cuda_build.log 2>&1 ||
  { grep -E "error|FAILED" build/cuda_build.log | head -n 20; exit 1; }
build/cuda/src/comm/test_comm --gtest_filter='Nccl.*' >/dev/null || { echo "cuda: test_comm failed"; exit 1; }
echo "cuda: kernels compiled for sm_80 and sm_90a"

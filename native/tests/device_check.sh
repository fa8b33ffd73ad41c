#!/bin/sh
# Builds the CUDA backend on a GPU machine, checks its operators and times them.
#   native/tests/device_check.sh [build folder]     STRIPED_CHECK: which steps, of "test bench memcheck"
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$here/../build/cuda}
mkdir -p "$(dirname "$build")"
steps=${STRIPED_CHECK:-test bench}
if [ -z "${STRIPED_CUDNN_PATH:-}" ] && command -v python3 >/dev/null; then
  # cuDNN often comes with a Python package.
  STRIPED_CUDNN_PATH=$(python3 -c 'import nvidia.cudnn as c; print(list(c.__path__)[0])' 2>/dev/null || true)
  export STRIPED_CUDNN_PATH
fi
cmake -S "$here" -B "$build" -DSTRIPED_CUDA=ON -DSTRIPED_ADDON=OFF -DCMAKE_BUILD_TYPE=Release >"$build.log" 2>&1 || {
  cat "$build.log"
  exit 1
}
cmake --build "$build" -j"$(nproc)" --target test_cuda_operators bench_cuda_operators >>"$build.log" 2>&1 || {
  grep -E -A5 'error|undefined' "$build.log" | head -60
  exit 1
}
status=0
for step in $steps; do
  case $step in
    test) "$build/test_cuda_operators" || status=1 ;;
    bench) "$build/bench_cuda_operators" || status=1 ;;
    memcheck) compute-sanitizer --tool memcheck --error-exitcode 1 "$build/test_cuda_operators" fp32 bf16 || status=1 ;;
    racecheck) compute-sanitizer --tool racecheck --error-exitcode 1 "$build/test_cuda_operators" fp32 bf16 || status=1 ;;
    initcheck) compute-sanitizer --tool initcheck --error-exitcode 1 "$build/test_cuda_operators" fp32 bf16 || status=1 ;;
  esac
done
exit $status

#!/bin/sh
# Builds the engine with CUDA and MPI on a machine with two GPUs, then tests and measures several ranks.
#   native/tests/device_ranks.sh [build folder]
# STRIPED_CHECK: the steps, of
#   ranks     test_cuda_ranks: NCCL, operators over context ranks, trainings; needs no MPI
#   train     short trainings under mpirun, shared out in every way, against one rank
#   random    a few steps of random models, shared out at random, against one rank
#   faults    a killed rank, a shared GPU, a broken NCCL, a wrong number of ranks
#   links     striped-runner bench links
#   bench     striped-runner bench plans on the plans of STRIPED_BENCH_PLANS (native/bench/two_gpus.striped)
#   (without STRIPED_CHECK: ranks train faults)
# STRIPED_PLANS: folder of the compiled runs of ranks.striped; without it, the repository's dist/striped.mjs compiles
# them. STRIPED_BACKEND: cuda, or cpu to test this script. Of the trainings, STRIPED_PRECISIONS (fp32)
# and STRIPED_STEPS (50). STRIPED_RANKS: of the random models (2). One line a step at the end; exit code 1 when any failed.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$here/../build/cuda}
mkdir -p "$build"
build=$(cd "$build" && pwd)
steps=${STRIPED_CHECK:-ranks train faults}
backend=${STRIPED_BACKEND:-cuda}
# shellcheck source=native/tests/device_steps.sh
. "$here/tests/device_steps.sh"
find_packages nvidia.cudnn nvidia.nccl
# OpenMPI on one machine, in a container too.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
  OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl=self,vader OMPI_MCA_pml=ob1

log=$build/ranks.log
[ "$backend" = cpu ] && cuda=AUTO || cuda=ON
cmake -S "$here" -B "$build" -DSTRIPED_CUDA=$cuda -DSTRIPED_ADDON=OFF -DCMAKE_BUILD_TYPE=Release >"$log" 2>&1 || {
  cat "$log"
  exit 1
}
cmake --build "$build" -j"${STRIPED_JOBS:-$(nproc)}" --target striped-runner test_cuda_ranks >>"$log" 2>&1 || {
  grep -E -A5 'error|undefined' "$log" | head -60
  exit 1
}
ls "$build"/libstriped_mpi.* >/dev/null 2>&1 || echo "no MPI was found: train, faults, links and bench cannot run"

# Sets $plans.
compile() {
  plans=${STRIPED_PLANS:-$build/rank-plans}
  [ -z "${STRIPED_PLANS:-}" ] || return 0
  mkdir -p "$plans"
  for run in $(sed -n 's/^run \([a-z0-9_]*\) .*/\1/p' "$here/tests/ranks.striped"); do
    node "$here/../dist/striped.mjs" compile "$here/tests/ranks.striped" --run "$run" -o "$plans/$run.json" || return 1
  done
}

on_ranks() {
  python3 "$here/tests/device_ranks.py" "$1" "$build/striped-runner" "$2" "$build/ranks-$1" "$backend"
}

check() {
  case $1 in
    ranks)
      [ "$backend" = cpu ] && set -- ranks --cpu --ranks 2 --rows 64
      shift
      "$build/test_cuda_ranks" "$@"
      ;;
    random) random_models "${STRIPED_RANKS:-2}" "$backend" ;;
    train | faults) compile && on_ranks "$1" "$plans" ;;
    links) mpirun -n 2 "$build/striped-runner" bench links --backend "$backend" ;;
    bench) on_ranks bench "${STRIPED_BENCH_PLANS:?names a folder of compiled plans}" ;;
    *) echo "unknown step $1" && return 1 ;;
  esac
}

# shellcheck disable=SC2086 # a list of words
run_steps $steps

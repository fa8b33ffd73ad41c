# What device_check.sh and device_ranks.sh have in common; both read it.

# Adds the folders of Python packages, in which CUDA's libraries often come, to where the engine looks for them.
find_packages() {
  command -v python3 >/dev/null || return 0
  for package in "$@"; do
    folder=$(python3 -c "import $package as p; print(list(p.__path__)[0])" 2>/dev/null || true)
    [ -z "$folder" ] || STRIPED_CUDNN_PATH="${STRIPED_CUDNN_PATH:+$STRIPED_CUDNN_PATH:}$folder"
  done
  export STRIPED_CUDNN_PATH="${STRIPED_CUDNN_PATH:-}"
}

# Trains random models, those of the plans in STRIPED_RANDOM_PLANS or some drawn now: random_models RANKS BACKEND.
random_models() {
  random_plans=${STRIPED_RANDOM_PLANS:-}
  if [ -z "$random_plans" ]; then
    random_plans=$build/random-plans-$1
    rm -rf "$random_plans"
    python3 "$here/tests/random_layouts.py" "$random_plans" --ranks "$1" || return 1
  fi
  python3 "$here/tests/random_models.py" "$build/striped-runner" "$random_plans" "$build/random-runs-$1" "$2"
}

# Runs `check STEP` for each step; then a line each, and the exit code 1 where one failed.
run_steps() {
  status=0
  summary=
  for step in "$@"; do
    echo "== $step"
    if check "$step"; then verdict=passed; else verdict=FAILED status=1; fi
    summary="$summary$step $verdict
"
  done
  printf '\n%s' "$summary"
  return $status
}

"""Runs of several ranks under mpirun: that they train as one does, how they end when something goes wrong, and how
fast they are.

    device_ranks.py train|faults|bench RUNNER PLANS FOLDER BACKEND

PLANS is a folder of compiled plans; for train and faults those of ranks.striped. Prints a line a case; exit code 1
where one is not as it should be. Of the trainings, STRIPED_PRECISIONS (fp32) and STRIPED_STEPS (as planned).
"""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import compare_curves

HERE = os.path.dirname(os.path.abspath(__file__))
TOLERANCES = {"fp32": "1e-4", "bf16": "2e-2", "fp8": "2e-2"}
LIMIT = 240  # seconds of a whole run
BOUND = 60  # seconds that a run may take to end by itself

failures = 0


def verdict(name, good, what=""):
    global failures
    failures += not good
    print(f"{name}: {'as it should be' if good else 'FAILED'}{what and ': ' + what}", flush=True)


def ranks_of(plan):
    degrees = plan["run"]["parallel"]
    return degrees["tensor"] * degrees["context"] * degrees["data"]


class Machine:
    def __init__(self, runner, plans, folder, backend):
        self.runner, self.folder, self.backend = os.path.abspath(runner), folder, backend
        self.plans = {}
        for path in sorted(glob.glob(os.path.join(plans, "*.json"))):
            with open(path) as file:
                self.plans[os.path.splitext(os.path.basename(path))[0]] = json.load(file)
        if "one" not in self.plans:
            sys.exit(f"there is no one.json in {plans}")
        for plan in self.plans.values():
            plan["run"]["data"]["root"] = HERE  # wherever it was compiled

    def start(self, name, plan, ranks, environment=None, **changes):
        """Trains `plan` with `changes` to its run, on so many ranks; 1: without mpirun."""
        out, path = os.path.join(self.folder, name), os.path.join(self.folder, f"{name}.json")
        shutil.rmtree(out, ignore_errors=True)
        precision = changes.pop("precision", "fp32")
        plan = json.loads(json.dumps(plan))
        plan["run"].update({"steps": int(os.environ.get("STRIPED_STEPS", plan["run"]["steps"])), **changes})
        with open(path, "w") as file:
            json.dump(plan, file)
        command = [self.runner, "train", "--plan", path, "--out", out, "--backend", self.backend, "--precision", precision]
        if self.backend == "cpu":
            command += ["--threads", "1"]
        if ranks > 1:
            command = ["mpirun", "-n", str(ranks), *command]
        return out, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     start_new_session=True, env={**os.environ, **(environment or {})})


def end_of(process, limit):
    """What it wrote to stderr; None where it had to be ended."""
    try:
        return process.communicate(timeout=limit)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None


def said(errors):
    return [line for line in (errors or "").splitlines() if line.startswith("striped-runner: error:")]


def trainings(machine):
    comparisons = []
    for precision in os.environ.get("STRIPED_PRECISIONS", "fp32").split():
        one = f"one-{precision}"
        for name, plan in sorted(machine.plans.items(), key=lambda item: item[0] != "one"):
            run = f"{name}-{precision}"
            _, process = machine.start(run, plan, ranks_of(plan), precision=precision)
            errors = end_of(process, LIMIT)
            if process.returncode != 0:
                missing = errors is not None and "[context-strategy]" in errors
                verdict(f"{run}: {'MISSING' if missing else 'training'}", False,
                        "no end" if errors is None else " ".join(said(errors)) or errors[-500:])
            elif name != "one":
                comparisons.append(f"{run}:{one}:{TOLERANCES[precision]}")
    return compare_curves.main(machine.folder, comparisons)


def steps_of(out):
    path = os.path.join(out, "events.jsonl")
    if not os.path.exists(path):
        return 0
    with open(path) as file:
        return file.read().count('"type":"step"')


def process_of(out, rank):
    """The process of a rank of the run in `out`."""
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            with open(f"{folder}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            with open(f"{folder}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:
            continue
        if out.encode() in words and f"OMPI_COMM_WORLD_RANK={rank}".encode() in variables:
            return int(os.path.basename(folder))
    return None


def killed(machine, rank, message):
    out, process = machine.start(f"killed-{rank}", machine.plans["data_2_zero_1"], 2, steps=100000, evaluateEvery=0)
    deadline = time.monotonic() + LIMIT
    while steps_of(out) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    lost, start = process_of(out, rank), time.monotonic()
    if lost is None:
        return verdict(f"rank {rank} killed", False, f"it did not come so far: {end_of(process, 1)}")
    os.kill(lost, signal.SIGKILL)
    errors = end_of(process, BOUND)
    seconds = time.monotonic() - start
    left = [other for other in (0, 1) if process_of(out, other) is not None]
    good = errors is not None and process.returncode != 0 and not left and (
        message is None or len(said(errors)) == 1 and re.search(message, said(errors)[0]))
    verdict(f"rank {rank} killed", bool(good), f"the others ended after {seconds:.1f} s, {left} left; {said(errors)}")


def refused(machine, name, code, plan, ranks, environment=None):
    start = time.monotonic()
    _, process = machine.start(name, machine.plans[plan], ranks, environment)
    errors = end_of(process, BOUND)
    lines = said(errors)
    good = errors is not None and process.returncode != 0 and len(lines) == 1 and lines[0].endswith(f"[{code}]")
    verdict(name, good, f"{time.monotonic() - start:.1f} s; {' '.join(lines)[:400] or errors}")


def faults(machine):
    killed(machine, 1, r"rank 1 on \S+ \(process \d+\) ended without a word.*\[rank-lost\]")
    killed(machine, 0, None)
    refused(machine, "too-many-ranks", "parallel-ranks", "one", 2)
    refused(machine, "too-few-ranks", "parallel-ranks", "tensor_2", 1)
    if machine.backend == "cpu":
        return failures
    refused(machine, "shared-gpu", "gpu-shared", "data_2", 2, {"CUDA_VISIBLE_DEVICES": "0"})
    broken = os.path.join(machine.folder, "broken")
    os.makedirs(broken)
    subprocess.run(["cc", "-shared", "-o", os.path.join(broken, "libnccl.so.2"), "-x", "c", "/dev/null"], check=True)
    places = broken + ":" + os.environ.get("STRIPED_CUDNN_PATH", "")
    refused(machine, "broken-nccl", "no-nccl", "data_2", 2, {"STRIPED_CUDNN_PATH": places})
    return failures


def bench(runner, folder, backend):
    by_ranks = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        with open(path) as file:
            by_ranks.setdefault(ranks_of(json.load(file)), []).append(path)
    status = 0
    for ranks, paths in sorted(by_ranks.items()):
        command = [runner, "bench", "plans", "--plans", ",".join(paths), "--backend", backend, "--json"]
        status |= subprocess.run(["mpirun", "-n", str(ranks), *command] if ranks > 1 else command).returncode
    return status


def main(step, runner, plans, folder, backend):
    if step == "bench":
        return bench(os.path.abspath(runner), plans, backend)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    machine = Machine(runner, plans, folder, backend)
    status = trainings(machine) if step == "train" else faults(machine)
    return 1 if status or failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""What goes wrong on a GPU machine ends in one clear line, and in a run that can go on.

    device_faults.py RUNNER PLAN FOLDER

Runs the runner without a device, with a model that is too large, with a rate that throws the loss away, and kills it
in the middle and resumes it, in every precision. Prints a line a case; exit code 1 where one is not as it should be.
"""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import time

failures = 0


def verdict(name, good, what):
    global failures
    failures += not good
    print(f"{name}: {'as it should be' if good else 'FAILED'}: {what}", flush=True)


class Machine:
    def __init__(self, runner, plan, folder):
        self.runner, self.folder = runner, folder
        with open(plan) as file:
            self.plan = json.load(file)

    def run(self, name, change=lambda run: None, *options, environment=None):
        out, path = os.path.join(self.folder, name), os.path.join(self.folder, f"{name}.json")
        plan = copy.deepcopy(self.plan)
        plan["run"].update(evaluateEvery=0, checkpointEvery=0)
        change(plan)
        with open(path, "w") as file:
            json.dump(plan, file)
        command = [self.runner, "train", "--plan", path, "--out", out, "--backend", "cuda", *options]
        return out, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     env={**os.environ, **(environment or {})})

    def refused(self, name, code, change=lambda plan: None, environment=None):
        out, process = self.run(name, change, environment=environment)
        _, errors = process.communicate(timeout=120)
        with open(os.path.join(out, "status.json")) as file:
            state = json.load(file)["state"]
        lines = [line for line in errors.strip().splitlines() if ": note: " not in line]
        good = process.returncode == 1 and len(lines) == 1 and lines[0].endswith(f"[{code}]") and state == "failed"
        verdict(name, good, errors.strip()[:300])


def steps_of(out):
    path = os.path.join(out, "events.jsonl")
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        text = file.read()
    events = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return {event["step"]: event["loss"] for event in events if event["type"] == "step"}


def killed_and_resumed(machine, precision):
    def change(plan):
        plan["run"].update(steps=60, checkpointEvery=10, precision=precision)

    whole, process = machine.run(f"whole-{precision}", change)
    process.communicate(timeout=120)
    killed, process = machine.run(f"killed-{precision}", change)
    while process.poll() is None and max(steps_of(killed), default=0) < 25:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reached = max(steps_of(killed), default=0)
    _, process = machine.run(f"killed-{precision}", change, "--resume")
    process.communicate(timeout=120)
    same = steps_of(killed) == steps_of(whole) and len(steps_of(whole)) == 60
    verdict(f"killed and resumed in {precision}", same and 25 <= reached < 60,
            f"killed at step {reached}, losses {'of the same bits' if same else 'that differ'}")


def main(runner, plan, folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    machine = Machine(os.path.abspath(runner), plan, folder)
    machine.refused("no device", "no-cuda", environment={"CUDA_VISIBLE_DEVICES": ""})
    machine.refused("too large", "out-of-memory",
                    lambda plan: plan["run"].update(sequence=4096, microBatch=65536, globalBatchTokens=65536 * 4096))
    machine.refused("lost", "loss-not-finite", lambda plan: plan["run"]["optimizer"].update(lr=1e18, clip=0))
    for precision in ("fp32", "bf16", "fp8"):
        killed_and_resumed(machine, precision)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

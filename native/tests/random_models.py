"""A few training steps of random models, on a device against the processor, or over ranks against one.

    random_models.py RUNNER PLANS FOLDER BACKEND [--at-once 4]

PLANS is a folder of random_layouts.py. Of plans for one rank, BACKEND in every precision is held against the processor
in fp32; of plans for several, mpirun's ranks against one rank of the same backend and precision. What is run twice must
give the same bits. Prints what is not as it should be and the largest differences; exit code 1 where something is not.
"""

import argparse
import glob
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples")
LIMIT = 150  # seconds of a run
STEPS = 3
# Of relative differences: the first loss, the first norm of the gradient, any loss. From the second step on Adam has
# turned what rounding left of small gradients into steps of full size.
SAME = (0, 0, 0)
TOLERANCES = {"fp32": (1e-5, 1e-4, 1e-3), "bf16": (5e-3, 3e-2, 5e-2), "fp8": (1e-2, 8e-2, math.inf)}


@dataclass(frozen=True)
class Variant:
    name: str
    run: str  # one or many
    backend: str
    precision: str
    against: str = ""  # another's name
    same: bool = False
    environment: dict = field(default_factory=dict, hash=False)


def variants_of(backend, many):
    if many:
        precisions = ["fp32"] if backend == "cpu" else ["fp32", "bf16"]
        return [variant for precision in precisions for variant in (
            Variant(f"one {precision}", "one", backend, precision),
            Variant(f"many {precision}", "many", backend, precision, f"one {precision}"),
            Variant(f"many {precision} again", "many", backend, precision, f"many {precision}", True))]
    processor = Variant("processor", "one", "cpu", "fp32")
    if backend == "cpu":
        return [processor, Variant("again", "one", "cpu", "fp32", "processor", True)]
    return [processor,
            *(Variant(precision, "one", backend, precision, "processor") for precision in ("fp32", "bf16", "fp8")),
            Variant("bf16, call by call", "one", backend, "bf16", "bf16", True, {"STRIPED_CUDA_GRAPH": "0"}),
            Variant("bf16, any device", "one", backend, "bf16", "processor", False, {"STRIPED_CUDA_PORTABLE": "1"})]


class Machine:
    def __init__(self, runner, plans, folder):
        self.runner, self.plans, self.folder = os.path.abspath(runner), plans, folder
        os.makedirs(folder, exist_ok=True)

    def plan(self, name, run):
        with open(os.path.join(self.plans, f"{name}-{run}.json")) as file:
            plan = json.load(file)
        data = plan["run"]["data"]
        files = [os.path.basename(path) for path in data["files"]]
        # So little that the processor need not evaluate for long.
        data.update(root=EXAMPLES, files=files, heldOut=0.1 if "lambda_virus.fa.gz" in files else 0.004)
        plan["run"]["steps"] = STEPS
        return plan

    def train(self, name, variant):
        """Losses and norms of a run, or what it said when it ended."""
        out = os.path.join(self.folder, f"{name}-{variant.name}".replace(" ", "-").replace(",", ""))
        plan = self.plan(name, variant.run)
        with open(f"{out}.json", "w") as file:
            json.dump(plan, file)
        command = [self.runner, "train", "--plan", f"{out}.json", "--out", out, "--backend", variant.backend, "--precision",
                   variant.precision]
        if variant.backend == "cpu":
            command += ["--threads", "2"]
        if variant.run == "many":
            degrees = plan["run"]["parallel"]
            command = ["mpirun", "-n", str(degrees["tensor"] * degrees["context"] * degrees["data"]), *command]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT,
                                    env={**os.environ, **variant.environment})
        except subprocess.TimeoutExpired:
            return "it did not end"
        if result.returncode != 0:
            return result.stderr.strip()[-400:]
        with open(os.path.join(out, "events.jsonl")) as file:
            events = [json.loads(line) for line in file]
        steps = [event for event in events if event["type"] == "step"]
        held_out = [event["heldOutLoss"] for event in events if event["type"] == "evaluation"]
        return [event["loss"] for event in steps], [event["gradNorm"] for event in steps], held_out


def difference(found, wanted):
    if len(found) != len(wanted) or not wanted:
        return math.inf
    return max(abs(x - y) / max(abs(y), 1e-30) for x, y in zip(found, wanted))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("runner", "plans", "folder", "backend"):
        parser.add_argument(name)
    parser.add_argument("--at-once", type=int, default=4)
    args = parser.parse_args()
    machine = Machine(args.runner, args.plans, args.folder)
    many = bool(glob.glob(os.path.join(args.plans, "*-many.json")))
    ending = "-many.json" if many else "-one.json"
    names = sorted(os.path.basename(path)[: -len(ending)] for path in glob.glob(os.path.join(args.plans, f"*{ending}")))
    if not names:
        sys.exit(f"there are no plans in {args.plans}")
    variants = variants_of(args.backend, many)
    passed = failed = 0
    largest = {}
    with ThreadPoolExecutor(args.at_once) as pool:
        runs = {(name, variant.name): pool.submit(machine.train, name, variant) for name in names for variant in variants}
        for name in names:
            for variant in variants:
                found = runs[name, variant.name].result()
                if isinstance(found, str):
                    failed += 1
                    print(f"{name} {variant.name}: FAILED: {found}", flush=True)
                    continue
                wanted = runs[name, variant.against].result() if variant.against else found
                if isinstance(wanted, str):
                    continue
                (losses, norms, held_out), (other_losses, other_norms, other_held_out) = found, wanted
                differences = (difference(losses[:1], other_losses[:1]), difference(norms[:1], other_norms[:1]),
                               max(difference(losses, other_losses), difference(held_out, other_held_out)))
                limits = SAME if variant.same else TOLERANCES[variant.precision]
                good = all(x <= limit for x, limit in zip(differences, limits))
                passed, failed = passed + good, failed + (not good)
                if not good:
                    print(f"{name} {variant.name}: FAILED: {differences} against {variant.against}", flush=True)
                if variant.against:
                    largest[variant.name] = [max(pair) for pair in zip(largest.get(variant.name, (0, 0, 0)), differences)]
    for variant, (loss, norm, later) in largest.items():
        print(f"{variant}: first loss {loss:.1e}, norm of its gradient {norm:.1e}, any loss {later:.1e}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

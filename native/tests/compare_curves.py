"""Largest relative difference between the losses of training runs, step by step.

    compare_curves.py RUNS run:reference:tolerance ...

RUNS holds the run directories. Prints a line a comparison; exit code 1 where one is above its tolerance (0: the same
losses to the last digit).
"""

import json
import os
import sys


def losses(run):
    with open(os.path.join(run, "events.jsonl")) as file:
        events = [json.loads(line) for line in file]
    return [event["loss"] for event in events if event["type"] == "step"]


def main(folder, comparisons):
    failed = False
    for comparison in comparisons:
        name, reference, tolerance = comparison.split(":")
        curve, expected = (losses(os.path.join(folder, run)) for run in (name, reference))
        if not curve or len(curve) != len(expected):
            print(f"{name}: {len(curve)} steps, {reference}: {len(expected)}: FAILED")
            failed = True
            continue
        worst = max(abs(a - b) / abs(b) for a, b in zip(curve, expected))
        good = worst <= float(tolerance)
        failed = failed or not good
        print(f"{name} against {reference}: {worst:.2e} over {len(curve)} steps{'' if good else ': FAILED'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

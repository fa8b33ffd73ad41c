"""A training step of a stack of ours against PyTorch Transformer blocks of the same width and depth, in one run.

    striped compile native/bench/stack.striped --run bf16 -o stack.json
    python3 native/bench/stack.py stack.json --runner build/native/striped-runner --data examples

Ours: the runner trains a few steps on real data; the step is all of it (embedding, loss, clipping, AdamW). PyTorch's:
forward and backward of the blocks alone, torch.compile, bf16 weights, cuDNN attention. So the ratio flatters PyTorch.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import tempfile

import torch

import pytorch_model


def ours(plan, args, length, precision):
    """Median step in ms over the later half of the steps, and what the run reported of itself."""
    plan = copy.deepcopy(plan)
    run = plan["run"]
    run.update(sequence=length, microBatch=1, accumulation=1, globalBatchTokens=length, precision=precision,
               steps=args.steps, checkpointEvery=0, evaluateEvery=0)
    run["data"]["root"] = os.path.abspath(args.data)
    run["data"]["files"] = [os.path.basename(file) for file in run["data"]["files"]]
    with tempfile.TemporaryDirectory() as folder:
        path, out = os.path.join(folder, "plan.json"), os.path.join(folder, "run")
        with open(path, "w") as file:
            json.dump(plan, file)
        result = subprocess.run([args.runner, "train", "--plan", path, "--out", out, "--backend", "cuda"],
                                capture_output=True, text=True)
        if result.returncode != 0:
            return None, result.stderr.strip().splitlines()[-1:]
        with open(os.path.join(out, "events.jsonl")) as file:
            steps = [event for event in map(json.loads, file) if event["type"] == "step"]
    later = steps[len(steps) // 2:]
    return statistics.median(step["stepTimeMs"] for step in later), later[-1]


def transformer_block(plan, length):
    """Median forward + backward of one compiled block in ms."""
    model = plan["model"]
    width = model["width"]
    heads = next((b["mixer"]["heads"] for b in model["blocks"] if b["mixer"]["operator"] == "MHA"), width // 128)
    mixer = {"operator": "MHA", "heads": heads, "kvHeads": heads, "headDim": width // heads, "window": None,
             "rope": {"base": 10000.0, "scale": 1.0}, "bias": False}
    block = {"mixer": mixer, "ffn": model["blocks"][0]["ffn"]}
    single = dict(model, blocks=[block])
    parameters = pytorch_model.random_parameters(single, torch.bfloat16, "cuda")
    x = torch.randn(1, length, width, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    dy = torch.randn_like(x)
    run = torch.compile(lambda x: pytorch_model.run_block(x, parameters, 0, block, model["norm"]["eps"]))
    times = []
    with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.CUDNN_ATTENTION]):
        for step in range(12 if length < 100_000 else 7):
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            run(x).backward(dy)
            stop.record()
            stop.synchronize()
            if step >= 3:
                times.append(start.elapsed_time(stop))
    del parameters, x, dy
    torch.cuda.empty_cache()
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan")
    parser.add_argument("--runner", required=True)
    parser.add_argument("--data", required=True, help="folder of the plan's data files")
    parser.add_argument("--lengths", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--precisions", nargs="+", default=["bf16", "fp8"])
    parser.add_argument("--steps", type=int, default=12)
    args = parser.parse_args()
    with open(args.plan) as file:
        plan = json.load(file)
    depth = len(plan["model"]["blocks"])
    for length in args.lengths:
        block = transformer_block(plan, length)
        theirs = block * depth
        print(f"L {length:7d}  Transformer blocks, PyTorch bf16: {theirs:9.2f} ms ({block:.2f} a block)", flush=True)
        for precision in args.precisions:
            step, last = ours(plan, args, length, precision)
            if step is None:
                print(f"L {length:7d}  ours {precision}: {last}", flush=True)
                continue
            mfu = f"MFU {last['mfu']:.3f}" if last.get("mfu") else "MFU unknown"
            print(f"L {length:7d}  ours {precision}: {step:9.2f} ms  {theirs / step:.2f}x  {mfu}  "
                  f"{last['memoryBytes'] / 2**30:.1f} GiB  loss {last['loss']:.4f}", flush=True)


if __name__ == "__main__":
    main()

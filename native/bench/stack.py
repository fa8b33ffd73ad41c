"""Blocks of ours, striped as in a model, against PyTorch's Transformer block of the same width, in one run.

    python3 native/bench/stack.py --runner build/native/striped-runner

Both sides: forward and backward of whole blocks with SwiGLU 11008 at width 4096, batch 1, random inputs, all weight
gradients, medians. PyTorch's: torch.compile, bf16 weights, cuDNN attention, which is not reproducible. Ours: `bench
blocks`, bf16 and FP8, weighted as the 7B layout has them (9 SE, 9 MR, 9 LI and 5 MHA of 32 blocks); once with the
reproducible attention that is the default, once with cuDNN's fastest. `bench stack` adds a whole training step.
"""

import argparse
import json
import os
import statistics
import subprocess

import torch

import pytorch_model

WIDTH, INNER, HEADS = 4096, 11008, 32
STRIPES = {"SE block": 9, "MR block": 9, "LI block": 9, "MHA block": 5}
# By name, MiB of workspace; where that of the reproducible one is too large, the engine takes the fastest for it.
ATTENTION = {"reproducible": None, "fastest": "0"}
PEAK = {"bf16": 989e12, "fp8": 1979e12}


def bench(args, what, length, precision, attention_workspace=None):
    """Rows of the engine's own benchmark by name, or what went wrong."""
    environment = dict(os.environ)
    if attention_workspace is not None:
        environment["STRIPED_ATTENTION_WORKSPACE"] = attention_workspace
    command = [args.runner, "bench", what, "--json", "--backend", "cuda", "--precision", precision, "--widths",
               str(WIDTH), "--lengths", str(length), "--runs", str(args.runs)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        return result.stderr.strip()
    return {row["name"]: row for row in json.loads(result.stdout)["rows"]}


def transformer_block(length, runs):
    """Median forward + backward of one compiled block in ms."""
    mixer = {"operator": "MHA", "heads": HEADS, "kvHeads": HEADS, "headDim": WIDTH // HEADS, "window": None,
             "rope": {"base": 10000.0, "scale": 1.0}, "bias": False}
    block = {"mixer": mixer, "ffn": {"kind": "gated", "activation": "silu", "inner": INNER}}
    model = {"width": WIDTH, "vocab": 512, "tiedEmbeddings": True, "blocks": [block]}
    parameters = pytorch_model.random_parameters(model, torch.bfloat16, "cuda")
    x = torch.randn(1, length, WIDTH, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    dy = torch.randn_like(x)
    run = torch.compile(lambda x: pytorch_model.run_block(x, parameters, 0, block, 1e-6))
    times = []
    with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.CUDNN_ATTENTION]):
        for step in range(3 + runs):
            # As after optimizer.zero_grad(): gradients are written, not added. Ours do the same.
            for tensor in (x, *parameters.values()):
                tensor.grad = None
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


def report_blocks(args, length, precision, theirs, attention):
    rows = bench(args, "blocks", length, precision, ATTENTION[attention])
    if isinstance(rows, str):
        print(f"L {length:7d}  ours {precision}, {attention} attention: {rows}", flush=True)
        return
    times = {name: rows[f"{name} forward + backward"]["milliseconds"] for name in STRIPES}
    mean = sum(times[name] * count for name, count in STRIPES.items()) / sum(STRIPES.values())
    parts = "  ".join(f"{name.split()[0]} {time:.2f}" for name, time in times.items())
    print(f"L {length:7d}  ours {precision:4s}, {attention:12s} attention: {mean:9.2f} ms a block  "
          f"{theirs / mean:.2f}x  ({parts})", flush=True)


def report_step(args, length, precision):
    rows = bench(args, "stack", length, precision)
    if isinstance(rows, str):
        print(f"L {length:7d}  ours {precision}, stack: {rows}", flush=True)
        return
    for name, row in rows.items():
        rate = row["teraflops"] * 1e12
        print(f"L {length:7d}  ours {precision:4s}, six blocks, {name}: {row['milliseconds']:9.2f} ms  "
              f"{rate * 1e-12:.0f} TFLOP/s, {rate / PEAK[precision]:.3f} of the peak", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runner", required=True)
    parser.add_argument("--lengths", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--steps", type=int, nargs="*", default=[8192, 32768], help="lengths of whole steps")
    parser.add_argument("--precisions", nargs="+", default=["bf16", "fp8"])
    parser.add_argument("--attention", nargs="+", choices=ATTENTION, default=list(ATTENTION), help="of ours")
    parser.add_argument("--runs", type=int, default=7, help="behind each median")
    args = parser.parse_args()
    for length in args.lengths:
        theirs = transformer_block(length, args.runs)
        print(f"L {length:7d}  Transformer block, PyTorch bf16: {theirs:9.2f} ms", flush=True)
        for precision in args.precisions:
            for attention in args.attention:
                report_blocks(args, length, precision, theirs, attention)
    for length in args.steps:
        for precision in args.precisions:
            report_step(args, length, precision)


if __name__ == "__main__":
    main()

"""The model of a plan in plain PyTorch: an independent reference for the engine's numbers, and a baseline for its speed.

    striped compile examples/genome.striped --run demo -o plan.json
    python3 pytorch_model.py time plan.json --device cpu --threads 2
    python3 pytorch_model.py check plan.json --runner build/native/striped-runner

`time` prints the median training step (forward, backward, clipped AdamW) on random tokens. `check` draws random
weights and tokens, runs the runner's numerics probe in fp64 and compares logits and every gradient.
Written from the equations (paper eq. 1 and section 3), sharing nothing with the engine.
"""

import argparse
import json
import math
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy
import torch
import torch.nn.functional as F


def parameter_shapes(model):
    """Names and shapes of every parameter, as the engine stores them."""
    width, shapes = model["width"], {}
    shapes["embedding.weight"] = (model["vocab"], width)

    def hyena(prefix, mixer):
        shapes[f"{prefix}.in_proj.weight"] = (3 * width, width)
        shapes[f"{prefix}.featurizer.weight"] = (3 * width, mixer["featurizerTaps"])
        if mixer["operator"] == "LI":
            shapes[f"{prefix}.residues"] = shapes[f"{prefix}.log_poles"] = (mixer["groups"], mixer["order"])
        else:
            shapes[f"{prefix}.filter"] = (mixer["groups"], mixer["taps"])
        if mixer["skip"]:
            shapes[f"{prefix}.skip"] = (width,)
        shapes[f"{prefix}.out_proj.weight"] = (width, width)
        if mixer["bias"]:
            shapes[f"{prefix}.out_proj.bias"] = (width,)

    for i, block in enumerate(model["blocks"]):
        mixer, ffn = block["mixer"], block["ffn"]
        shapes[f"blocks.{i}.norm1.weight"] = (width,)
        if mixer["operator"] == "MHA":
            rows = (mixer["heads"] + 2 * mixer["kvHeads"]) * mixer["headDim"]
            shapes[f"blocks.{i}.mixer.in_proj.weight"] = (rows, width)
            shapes[f"blocks.{i}.mixer.out_proj.weight"] = (width, mixer["heads"] * mixer["headDim"])
            if mixer["bias"]:
                shapes[f"blocks.{i}.mixer.out_proj.bias"] = (width,)
        else:
            hyena(f"blocks.{i}.mixer", mixer)
        if ffn["kind"] != "none":
            shapes[f"blocks.{i}.norm2.weight"] = (width,)
        if ffn["kind"] == "gated":
            shapes[f"blocks.{i}.ffn.gate.weight"] = shapes[f"blocks.{i}.ffn.up.weight"] = (ffn["inner"], width)
            shapes[f"blocks.{i}.ffn.down.weight"] = (width, ffn["inner"])
        elif ffn["kind"] == "hyena":
            hyena(f"blocks.{i}.ffn", ffn["mixer"])
    shapes["norm.weight"] = (width,)
    if not model["tiedEmbeddings"]:
        shapes["unembedding.weight"] = (model["vocab"], width)
    return shapes


def fft_convolution(x, h):
    """Causal convolution of x [batch, length, channels] with h [channels, taps] through an FFT."""
    length, size = x.shape[1], x.shape[1] + h.shape[1]
    real = x.to(h.dtype).transpose(1, 2)
    y = torch.fft.irfft(torch.fft.rfft(real, n=size) * torch.fft.rfft(h, n=size), n=size)[..., :length]
    return y.transpose(1, 2).to(x.dtype)


def depthwise(x, taps):
    """Causal depthwise convolution: x [batch, length, channels], taps [channels, n], tap 0 the current token.

    On a CPU, PyTorch's own grouped convolution is slow enough to flatter anybody who compares with it; sums of shifts
    and FFTs are what a careful user would write there.
    """
    n = taps.shape[1]
    if x.device.type == "cpu":
        if n > 8:
            return fft_convolution(x, taps)
        return sum(F.pad(x, (0, 0, t, 0))[:, : x.shape[1]] * taps[:, t] for t in range(n))
    padded = F.pad(x.transpose(1, 2), (n - 1, 0))
    return F.conv1d(padded, taps.flip(1).unsqueeze(1), groups=taps.shape[0]).transpose(1, 2)


def hyena(x, p, prefix, mixer):
    width, length = x.shape[-1], x.shape[1]
    z = depthwise(F.linear(x, p[f"{prefix}.in_proj.weight"]), p[f"{prefix}.featurizer.weight"])
    q, k, v = z.split(width, dim=-1)
    u = k * v
    groups = mixer["groups"]
    if mixer["operator"] == "LI":
        t = torch.arange(length, device=x.device, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
        residues, log_poles = p[f"{prefix}.residues"], p[f"{prefix}.log_poles"]
        h = (residues.unsqueeze(-1) * torch.exp(log_poles.unsqueeze(-1) * t)).sum(1)
        y = fft_convolution(u, h.repeat_interleave(width // groups, dim=0))
    else:
        h = p[f"{prefix}.filter"]
        decay = mixer.get("decay")
        if decay is not None:
            alpha = torch.logspace(decay["from"], decay["to"], groups, dtype=torch.float64, device=x.device)
            position = torch.arange(mixer["taps"], dtype=torch.float64, device=x.device) / max(mixer["taps"] - 1, 1)
            h = h * torch.exp(-alpha.unsqueeze(1) * position).to(h.dtype)
        y = depthwise(u, h.repeat_interleave(width // groups, dim=0))
    if mixer["skip"]:
        y = y + p[f"{prefix}.skip"] * u
    return F.linear(q * y, p[f"{prefix}.out_proj.weight"], p.get(f"{prefix}.out_proj.bias"))


def rotate(x, rope):
    """x [batch, heads, length, d]: the first half of d against the second."""
    half = x.shape[-1] // 2
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    inverse = rope["base"] ** (-torch.arange(half, device=x.device, dtype=dtype) / half)
    angle = torch.outer(torch.arange(x.shape[2], device=x.device, dtype=dtype) / rope["scale"], inverse)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def attention(x, p, prefix, mixer):
    batch, length, _ = x.shape
    heads, kv_heads, d = mixer["heads"], mixer["kvHeads"], mixer["headDim"]
    qkv = F.linear(x, p[f"{prefix}.in_proj.weight"])
    q, k, v = qkv.split((heads * d, kv_heads * d, kv_heads * d), dim=-1)
    q, k, v = (t.reshape(batch, length, -1, d).transpose(1, 2) for t in (q, k, v))
    if mixer["rope"] is not None:
        q, k = rotate(q, mixer["rope"]), rotate(k, mixer["rope"])
    k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
    if mixer["window"] is None and hasattr(F, "scaled_dot_product_attention"):
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        offset = torch.arange(length, device=x.device)
        offset = offset.unsqueeze(1) - offset.unsqueeze(0)
        hidden = (offset < 0) | (offset >= (mixer["window"] or length))
        scores = (q @ k.transpose(-1, -2) / math.sqrt(d)).masked_fill(hidden, float("-inf"))
        y = scores.softmax(-1) @ v
    y = y.transpose(1, 2).reshape(batch, length, heads * d)
    return F.linear(y, p[f"{prefix}.out_proj.weight"], p.get(f"{prefix}.out_proj.bias"))


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "identity": lambda x: x}


def run_block(x, p, i, block, eps):
    mix = attention if block["mixer"]["operator"] == "MHA" else hyena
    x = x + mix(rms_norm(x, p[f"blocks.{i}.norm1.weight"], eps), p, f"blocks.{i}.mixer", block["mixer"])
    ffn, prefix = block["ffn"], f"blocks.{i}.ffn"
    if ffn["kind"] == "none":
        return x
    y = rms_norm(x, p[f"blocks.{i}.norm2.weight"], eps)
    if ffn["kind"] == "hyena":
        return x + hyena(y, p, prefix, ffn["mixer"])
    gate = ACTIVATIONS[ffn["activation"]](F.linear(y, p[f"{prefix}.gate.weight"]))
    return x + F.linear(gate * F.linear(y, p[f"{prefix}.up.weight"]), p[f"{prefix}.down.weight"])


def logits(model, p, tokens):
    eps = model["norm"]["eps"]
    x = F.embedding(tokens, p["embedding.weight"])
    for i, block in enumerate(model["blocks"]):
        x = run_block(x, p, i, block, eps)
    x = rms_norm(x, p["norm.weight"], eps)
    return F.linear(x, p.get("unembedding.weight", p["embedding.weight"]))


def random_parameters(model, dtype, device):
    parameters = {}
    for name, shape in parameter_shapes(model).items():
        scale = 1 / math.sqrt(shape[-1])
        if name.endswith(("norm.weight", "norm1.weight", "norm2.weight")):
            value = 1 + 0.1 * torch.randn(shape, dtype=torch.float64)
        elif name.endswith("log_poles"):
            value = -torch.exp(-4 * torch.rand(shape, dtype=torch.float64))
        elif name == "embedding.weight":
            value = torch.randn(shape, dtype=torch.float64)
        else:
            value = scale * torch.randn(shape, dtype=torch.float64)
        parameters[name] = value.to(device=device, dtype=dtype).requires_grad_()
    return parameters


def mean_loss(model, parameters, tokens):
    out = logits(model, parameters, tokens[:, :-1])
    return out, F.cross_entropy(out.flatten(0, 1).float() if out.dtype == torch.bfloat16 else out.flatten(0, 1),
                                tokens[:, 1:].flatten())


def time_step(plan, args):
    model, run = plan["model"], plan["run"]
    if args.threads:
        torch.set_num_threads(args.threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[args.precision]
    parameters = random_parameters(model, torch.float32, args.device)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3)
    batch = args.batch or run["microBatch"]
    length = args.length or run["sequence"]

    def loss_of(tokens):
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            return mean_loss(model, parameters, tokens)[1]

    if args.compile:
        loss_of = torch.compile(loss_of)
    times = []
    for step in range(args.steps + 3):
        tokens = torch.randint(0, model["vocab"], (batch, length + 1), device=args.device)
        if args.device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        loss_of(tokens).backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if args.device == "cuda":
            torch.cuda.synchronize()
        if step >= 3:
            times.append((time.perf_counter() - start) * 1e3)
    median = statistics.median(times)
    print(json.dumps({"stepMs": median, "tokensPerSecond": batch * length / median * 1e3, "device": args.device,
                      "threads": torch.get_num_threads(), "torch": torch.__version__, "compiled": args.compile}))


def write_safetensors(path, tensors):
    header, blobs, offset = {}, [], 0
    for name, tensor in tensors.items():
        data = tensor.detach().cpu().float().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        blobs.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_safetensors(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(size)), file.read()
    kinds = {"F32": "<f4", "F64": "<f8"}
    return {
        name: torch.from_numpy(
            numpy.frombuffer(data[slice(*entry["data_offsets"])], dtype=kinds[entry["dtype"]]).reshape(entry["shape"]).copy()
        ).double()
        for name, entry in header.items() if name != "__metadata__"
    }


def check(plan, args):
    model, run = plan["model"], plan["run"]
    # Weights pass through fp32 files, so both sides start from the same rounded values.
    parameters = {name: value.detach().float().double().requires_grad_()
                  for name, value in random_parameters(model, torch.float64, "cpu").items()}
    tokens = torch.randint(0, model["vocab"], (run["microBatch"], run["sequence"] + 1))
    expected, loss = mean_loss(model, parameters, tokens)
    loss.backward()
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        write_safetensors(at("weights"), parameters)
        tokens.numpy().astype("<u2").tofile(at("tokens"))
        command = [args.runner, "forward", "--plan", args.plan, "--weights", at("weights"), "--tokens", at("tokens"),
                   "--logits", at("logits"), "--grads", at("grads"), "--precision", args.precision,
                   "--backend", args.backend]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        got, gradients = read_safetensors(at("logits")), read_safetensors(at("grads"))
    error = lambda a, b: ((a - b).norm() / b.norm().clamp_min(1e-300)).item()
    errors = {"logits": error(next(iter(got.values())), expected.detach())}
    for name, value in parameters.items():
        errors[name] = error(gradients[name], value.grad)
    worst = max(errors, key=errors.get)
    print(json.dumps({"logits": errors["logits"], "worst": worst, "worstError": errors[worst], "tensors": len(errors)}))
    return 0 if errors[worst] <= args.tolerance else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    timing = commands.add_parser("time")
    timing.add_argument("plan")
    timing.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    timing.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    timing.add_argument("--threads", type=int, default=0)
    timing.add_argument("--steps", type=int, default=15)
    timing.add_argument("--batch", type=int, default=0)
    timing.add_argument("--length", type=int, default=0)
    timing.add_argument("--compile", action="store_true")
    checking = commands.add_parser("check")
    checking.add_argument("plan")
    checking.add_argument("--runner", required=True)
    checking.add_argument("--backend", default="cpu")
    checking.add_argument("--precision", default="fp64")
    checking.add_argument("--tolerance", type=float, default=1e-6)
    args = parser.parse_args()
    with open(args.plan) as file:
        plan = json.load(file)
    if args.command == "time":
        return time_step(plan, args)
    return check(plan, args)


if __name__ == "__main__":
    sys.exit(main())

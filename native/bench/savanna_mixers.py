"""What the Hyena mixers of the paper's training program take between their projections, on one GPU.

    python3 native/bench/savanna_mixers.py > language/estimate/engines/savanna-mixers.json

Our own code with the operations that Savanna (commit 0d42c60) runs under its public configurations of Figure 2.2: the
same kinds, layouts and types of tensors, in the same order. Random inputs, medians, forward and backward apart. A kernel
that is not part of PyTorch, the featurizer's convolution of three taps, is replaced by a copy, which moves as much.

Lengths are tokens a rank, at 2^26 values a mixer. `context` 2 is the work of one of two context ranks with what they
exchange copied on the device: cutting, joining and ordering pieces, not their way between devices. The filter of LI is
a row of its own. `torchrun --nproc_per_node=2` measures that way instead: all-to-all with as many of NCCL's blocks as it
takes for two ranks on two nodes.
"""

import datetime
import json
import os
import statistics

os.environ.setdefault("NCCL_P2P_NVL_CHUNKSIZE", str(1 << 17))  # as between nodes
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch
import torch.distributed as dist
import torch.nn.functional as F

VALUES = 1 << 26
LENGTHS = [1 << power for power in range(14, 20)]
GROUP, ORDER, MR_TAPS, SE_TAPS, FEATURIZER_TAPS = 16, 16, 128, 7, 3
BF16, F32 = torch.bfloat16, torch.float32


def rand(*shape, dtype=BF16, scale=1.0):
    return torch.randn(*shape, device="cuda", dtype=dtype) * scale


def passes(run, inputs, warm=2, repeats=7):
    """Median milliseconds of the forward and the backward pass."""
    inputs = [x.detach().requires_grad_(True) for x in inputs]
    times, gradient = [], None
    for i in range(warm + repeats):
        torch.cuda._sleep(4_000_000)  # the host gets ahead
        before, between, behind = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        before.record()
        out = run(*inputs)
        between.record()
        if gradient is None:
            gradient = torch.randn_like(out)
        torch.autograd.grad(out, inputs, gradient, allow_unused=True)
        behind.record()
        torch.cuda.synchronize()
        if i >= warm:
            times.append((before.elapsed_time(between), between.elapsed_time(behind)))
        del out
    return [round(statistics.median(each), 4) for each in zip(*times)]


# Two context ranks, each of which has the first and the last of four pieces, or the two in the middle.


def piece_order(inverse):
    order = torch.empty(4, dtype=torch.long, device="cuda")
    order[0::2] = torch.arange(2, device="cuda")
    order[1::2] = torch.arange(3, 1, -1, device="cuda")
    return torch.argsort(order) if inverse else order


def to_channels(x):
    """[1, D, l] to [1, D/2, 2l]."""
    _, d, l = x.shape
    sent = x.reshape(1, 2, d // 2, l).permute(1, 0, 2, 3).contiguous()
    x = sent.clone().permute(1, 2, 0, 3).reshape(1, d // 2, 2 * l).contiguous()
    return x.reshape(1, d // 2, 4, l // 2).index_select(-2, piece_order(True)).reshape(1, d // 2, 2 * l)


def to_pieces(x):
    """[1, D/2, 2l] to [1, D, l]."""
    _, d, l = x.shape
    x = x.reshape(1, d, 4, l // 4).index_select(-2, piece_order(False)).reshape(1, d, l)
    sent = x.reshape(1, d, 2, l // 2).permute(2, 0, 1, 3).contiguous()
    return sent.clone().permute(1, 0, 2, 3).reshape(1, 2 * d, l // 2).contiguous()


class Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, whole):
        ctx.whole = whole
        return (to_channels if whole else to_pieces)(x.detach())

    @staticmethod
    def backward(ctx, gradient):
        return (to_pieces if ctx.whole else to_channels)(gradient), None


def overlapped(x, reach):
    """Both pieces with the end of what comes before each: [1, C, L] to [2, C, L/2 + reach]."""
    _, c, l = x.shape
    pieces = x.reshape(1, c, 2, l // 2).permute(2, 0, 1, 3)
    ends = pieces.narrow(3, l // 2 - reach, reach).contiguous().clone()
    return torch.concat([ends.reshape(2, c, reach), pieces.reshape(2, c, l // 2)], dim=-1)


def joined(y):
    _, c, l = y.shape
    return y.reshape(2, 1, c, l).permute(1, 2, 0, 3).reshape(1, c, 2 * l)


def padded(x, reach, context):
    return F.pad(x, (reach, 0)) if context == 1 else overlapped(x, reach)


# The parts of a mixer.


def featurized(u, context):
    """[L, 1, 3D] to [1, L, 3D]."""
    x = padded(u.permute(1, 0, 2).contiguous().permute(0, 2, 1), FEATURIZER_TAPS - 1, context)
    y = x.clone()[..., FEATURIZER_TAPS - 1 :]
    return (joined(y) if context == 2 else y)[..., : u.shape[0]].permute(0, 2, 1)


def operands(y, groups):
    """q, k and v, whose channels take turns within a group: three of [1, D, L]."""
    _, l, c = y.shape
    parts = y.reshape(1, l, groups, c // 3 // groups, 3).permute(0, 1, 2, 4, 3).unbind(dim=3)
    return [part.permute(0, 2, 3, 1).reshape(1, c // 3, l) for part in parts]


def short_convolution(x, filters, context):
    channels = x.shape[1]
    filters = filters.repeat_interleave(channels // filters.shape[0], dim=0)
    y = F.conv1d(padded(x, SE_TAPS - 1, context), filters, groups=channels)
    return joined(y) if context == 2 else y


def fourier_convolution(u, filters, skip):
    size = 2 * u.shape[-1]
    spectrum = torch.fft.rfft(filters, n=size) / size
    y = torch.fft.irfft(torch.fft.rfft(u, n=size) * spectrum, n=size, norm="forward")[..., : u.shape[-1]]
    return y + u * skip.unsqueeze(-1)


def long_filters(rates, gamma, residues, length):
    """[1, D, length], sums of exponentials in fp32."""
    t = torch.arange(length, dtype=F32, device="cuda")[None, None]
    logs = -torch.exp(rates) * torch.exp(gamma)
    return torch.einsum("do,dot->dt", residues, torch.exp(logs[..., None] * t))[None]


def mixer(operator, length, context):
    """The mixer as a function of its projections and weights, and these."""
    channels = VALUES // length
    groups = channels // GROUP
    mine = slice(0, channels // context)

    def run(u, filters, skip):
        q, k, v = operands(featurized(u, context), channels if operator == "LI" else groups)
        if operator == "SE":
            return leave(q * short_convolution(k * v, filters, context))
        if context == 2:
            q, k, v = (Exchange.apply(x, True) for x in (q, k, v))
        h = filters if operator == "LI" else filters.repeat_interleave(GROUP, dim=-2)[None]
        with torch.autocast("cuda"):
            y = fourier_convolution((k * v).to(F32), h[:, mine].to(F32), skip[mine]).to(v.dtype)
        y = q * y
        return leave(Exchange.apply(y, False) if context == 2 else y)

    def leave(y):
        return y.permute(0, 2, 1).permute(1, 0, 2).contiguous()

    filters = {
        "SE": lambda: rand(groups, 1, SE_TAPS),
        "MR": lambda: rand(groups, MR_TAPS, dtype=F32),
        "LI": lambda: rand(1, channels, context * length, dtype=F32),
    }[operator]()
    return run, [rand(length, 1, 3 * channels), filters, rand(channels, dtype=F32)]


def median_ms(run):
    times = []
    for _ in range(20):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return statistics.median(times)


def copy_rate():
    """TB/s read and written."""
    source = torch.empty(1 << 31, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / median_ms(lambda: target.copy_(source)) / 1e9


def head():
    return {
        "device": torch.cuda.get_device_name(),
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def mixers():
    rows = []
    for length in LENGTHS:
        for context in (1, 2):
            for operator in ("SE", "MR", "LI"):
                forward, backward = passes(*mixer(operator, length, context))
                rows.append({"operator": operator, "context": context, "tokens": length,
                             "forwardMs": forward, "backwardMs": backward})
                torch.cuda.empty_cache()
        weights = [rand(VALUES // length, ORDER, dtype=F32, scale=0.1) - 2 for _ in range(3)]
        forward, backward = passes(lambda *w: long_filters(*w, length), weights)
        rows.append({"operator": "LI filter", "context": 1, "tokens": length,
                     "forwardMs": forward, "backwardMs": backward})
        torch.cuda.empty_cache()
    return {**head(), "copyTerabytesPerSecond": round(copy_rate(), 3), "values": VALUES, "rows": rows}


def exchanges():
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl")
    options = dist.ProcessGroupNCCL.Options()
    options.config.max_ctas = 2
    group = dist.new_group([0, 1], backend="nccl", pg_options=options)
    sent = rand(VALUES)
    received = torch.empty_like(sent)
    halves = [VALUES // 2] * 2
    taken = median_ms(lambda: dist.all_to_all_single(received, sent, halves, halves, group=group))
    dist.destroy_process_group()
    return {**head(), "nccl": ".".join(map(str, torch.cuda.nccl.version())), "blocks": 2,
            "gigabytesPerSecond": round(VALUES / taken / 1e6, 2)}


if __name__ == "__main__":
    if "LOCAL_RANK" not in os.environ:
        print(json.dumps(mixers(), indent=1))
    else:
        result = exchanges()
        if os.environ["LOCAL_RANK"] == "0":
            print(json.dumps(result))

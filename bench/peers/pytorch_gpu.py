#!/usr/bin/env python3
"""The training and distillation steps of mito's CUDA benchmarks in PyTorch on the same GPU: same model, batch, precision
and optimiser.

    python3 bench/peers/pytorch_gpu.py [--all] [--seconds 2] [--modes graph,compile,eager,reduce-overhead]

needs PyTorch 2.4 or later with CUDA. Matrix products run in bfloat16 (autocast over float32 weights and optimiser
state) or float32, attention is flash attention where PyTorch has it, AdamW is the fused one.

    eager             nothing is compiled
    compile           forward and backward pass by torch.compile; drawing the batch, clipping and AdamW are eager
    reduce-overhead   the same as CUDA graphs; the rest is eager
    graph             forward and backward pass by torch.compile, and the whole step, with the batch, clipping and AdamW,
                      recorded in one CUDA graph: as mito does it, and the least that the host can do

Each mode is measured, the likely best first; after each, a line without a mode is the best so far, so that the last one
counts also where the run was cut off. The lines are those of Go's benchmarks, so that benchstat reads both.
"""

import argparse
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

VOCAB, CONTEXT, ROWS, LAYERS = 65, 256, 64, 4
CLASSES = {"460K": dict(width=96, heads=4), "7M": dict(width=384, heads=6)}
WARMUP = 6
TEMPERATURE, ALPHA = 2.0, 0.5


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Block(nn.Module):
    """Pre-norm layer: RMSNorm, RoPE, MHA, MLP with ReLU squared, no biases; q, k and v are one product."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x, cos, sin):
        b, t, c = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, c // self.heads)
        q, k, v = (y.transpose(1, 2) for y in qkv.unbind(2))
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.relu(self.up(self.norm2(x))).square())


class Decoder(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(LAYERS))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        half = width // heads // 2
        angle = torch.arange(CONTEXT).outer(10000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.linear(self.norm(x), self.embed.weight)


def hard_loss(model, tokens, targets):
    return F.cross_entropy(model(tokens).float().view(-1, VOCAB), targets.view(-1))


def distill_loss(student, teacher, tokens, targets):
    """alpha·CE + (1-alpha)·T²·KL(teacher ‖ student), arXiv:1503.02531, the teacher live."""
    with torch.no_grad():
        probs = F.softmax(teacher(tokens).float().view(-1, VOCAB) / TEMPERATURE, dim=-1)
    logits = student(tokens).float().view(-1, VOCAB)
    kl = F.kl_div(F.log_softmax(logits / TEMPERATURE, dim=-1), probs, reduction="batchmean")
    return ALPHA * F.cross_entropy(logits, targets.view(-1)) + (1 - ALPHA) * TEMPERATURE**2 * kl


def stepper(size, teacher_size, precision, mode, device):
    """A function that runs one training step and waits for nothing."""
    torch.manual_seed(1)
    torch._dynamo.reset()
    model = Decoder(**CLASSES[size]).to(device)
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    groups = [dict(params=decay, weight_decay=0.1), dict(params=plain, weight_decay=0.0)]
    graph = mode == "graph"
    opt = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.99), fused=True, capturable=graph)
    text = torch.randint(VOCAB, (1 << 20,)).to(device)
    offsets = torch.arange(CONTEXT + 1, device=device)
    if teacher_size:
        teacher = Decoder(**CLASSES[teacher_size]).to(device).eval()
        loss = lambda x, y: distill_loss(model, teacher, x, y)
    else:
        loss = lambda x, y: hard_loss(model, x, y)
    if mode in ("compile", "graph"):
        loss = torch.compile(loss)
    elif mode != "eager":
        loss = torch.compile(loss, mode=mode)

    def step():
        starts = torch.randint(len(text) - CONTEXT - 1, (ROWS, 1), device=device)
        rows = text[starts + offsets]
        opt.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            value = loss(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        opt.step()

    return recorded(step) if graph else step


def recorded(step):
    """The step as one CUDA graph, recorded after three on a side stream, as torch.cuda.graph asks for."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        step()
    return g.replay


def measure(step, seconds, device):
    """Seconds of a step and how many were timed."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(WARMUP):
        step()
    wait()
    began = time.perf_counter()
    for _ in range(3):
        step()
    wait()
    n = max(5, int(seconds / ((time.perf_counter() - began) / 3)))
    began = time.perf_counter()
    for _ in range(n):
        step()
    wait()
    return (time.perf_counter() - began) / n, n


def line(name, seconds, n):
    print(f"Benchmark{name}\t{n:8d}\t{1e9 * seconds:12.0f} ns/op\t{ROWS * CONTEXT / seconds:12.0f} tok/s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=2, help="time of a measurement")
    parser.add_argument("--modes", default="graph,compile,eager,reduce-overhead", help="graph, compile, eager, or modes of torch.compile")
    parser.add_argument("--all", action="store_true", help="also the 460K class, and float32")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu only checks that the script runs")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU")
    torch.backends.cuda.matmul.allow_tf32 = False
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"pkg: pytorch {torch.__version__}, CUDA {torch.version.cuda}, {name}")
    benchmarks = [
        ("Training/7M/bf16", "7M", None, "bf16"),
        ("Distillation/7M-460K/bf16", "460K", "7M", "bf16"),
    ]
    if args.all:
        benchmarks += [("Training/460K/bf16", "460K", None, "bf16"), ("Training/7M/fp32", "7M", None, "fp32")]
    for name, size, teacher, precision in benchmarks:
        best = None
        for mode in args.modes.split(","):
            try:
                seconds, n = measure(stepper(size, teacher, precision, mode, args.device), args.seconds, args.device)
            except Exception as e:  # a mode that this PyTorch or GPU cannot do is left out, and said
                print(f"# {name}, {mode}: {type(e).__name__}: {str(e).splitlines()[0]}", flush=True)
                continue
            line(f"{name}/{mode}", seconds, n)
            if best is None or seconds < best[0]:
                best = seconds, n
            line(name, *best)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The sizes of `mito bench train` and `mito bench decode` in PyTorch on the CPU: same model, batch and optimiser.

    python3 bench/peers/pytorch_cpu.py --mito ./mito --out bench/results/MACHINE.md

needs PyTorch 2.4 or later, and a C++ compiler for torch.compile (--no-compile does without). With --mito it runs
`mito bench` in the same rounds, so that both meet the same machine, and adds ratios. A round takes the fastest step
of a second; a value is the median over the rounds.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

VOCAB, CONTEXT, BATCH, LAYERS = 64, 128, 8, 4
STRETCH = 8  # positions of a decoded context that are timed together; the fastest of each stretch counts, as in mito
CLASSES = {"460K": dict(width=96, heads=4), "7M": dict(width=384, heads=6)}


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

    def project(self, x):
        b, t, c = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, c // self.heads)
        return (y.transpose(1, 2) for y in qkv.unbind(2))

    def finish(self, x, attended):
        b, t, c = x.shape
        x = x + self.out(attended.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.relu(self.up(self.norm2(x))).square())

    def forward(self, x, cos, sin):
        q, k, v = self.project(x)
        return self.finish(x, F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True))

    def step(self, x, keys, values, position, cos, sin, mask):
        """One position over a cache [1,H,CONTEXT,D]; mask hides what has not happened yet."""
        q, k, v = self.project(x)
        keys.index_copy_(2, position, rotate(k, cos, sin))
        values.index_copy_(2, position, v)
        return self.finish(x, F.scaled_dot_product_attention(rotate(q, cos, sin), keys, values, attn_mask=mask))


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
        self.register_buffer("seen", torch.ones(CONTEXT, CONTEXT, dtype=torch.bool).tril())
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.norm(x) @ self.embed.weight.T

    def loss(self, tokens, targets):
        return F.cross_entropy(self(tokens).view(-1, VOCAB), targets.view(-1))

    def step(self, token, position, cache):
        x = self.embed(token)
        cos, sin, mask = self.cos[position], self.sin[position], self.seen[position]
        for block, (keys, values) in zip(self.blocks, cache):
            x = block.step(x, keys, values, position, cos, sin, mask)
        return self.norm(x) @ self.embed.weight.T

    def cache(self):
        heads, dim = self.blocks[0].heads, self.embed.embedding_dim // self.blocks[0].heads
        return [(torch.zeros(1, heads, CONTEXT, dim), torch.zeros(1, heads, CONTEXT, dim)) for _ in self.blocks]


def fastest(f, seconds):
    """The time of the fastest call of f within some seconds, three calls at least."""
    best, began, n = math.inf, time.perf_counter(), 0
    while n < 3 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        f()
        best, n = min(best, time.perf_counter() - start), n + 1
    return best


class Quiet:
    """Measures again what other programs disturbed, as `mito bench --patience` does; Linux only."""

    def __init__(self, patience):
        self.patience, self.measured, self.disturbed = patience, 0, 0

    @staticmethod
    def clocks():
        try:
            with open("/proc/stat") as f:
                cpu = [int(x) for x in f.readline().split()[1:9]]
        except OSError:
            return None
        own = os.times()
        return sum(cpu), sum(cpu) - cpu[3] - cpu[4], (own.user + own.system) * os.sysconf("SC_CLK_TCK")

    def measure(self, threads, rate):
        free = 1 - min(threads, os.cpu_count()) / os.cpu_count()
        while True:
            began, before = time.perf_counter(), self.clocks()
            value, after = rate(), self.clocks()
            total, busy, own = (b - a for a, b in zip(before, after)) if before else (0, 0, 0)
            disturbed = total > 0 and (busy - own - 1) / total > free + 0.05
            if disturbed and self.patience > 0:
                time.sleep(0.2)
                self.patience -= time.perf_counter() - began
                continue
            self.measured, self.disturbed = self.measured + 1, self.disturbed + disturbed
            return value


def training(size, compiled):
    torch.manual_seed(1)
    model = Decoder(**CLASSES[size])
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    groups = [dict(params=decay, weight_decay=0.1), dict(params=plain, weight_decay=0.0)]
    opt = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.99), fused=True)
    text = torch.randint(VOCAB, (1 << 16,))
    loss = torch.compile(model.loss) if compiled else model.loss

    def step():
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,)).tolist()
        rows = torch.stack([text[i : i + CONTEXT + 1] for i in starts])
        opt.zero_grad(set_to_none=True)
        loss(rows[:, :-1].contiguous(), rows[:, 1:].contiguous()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()

    for _ in range(3):
        step()
    return lambda: BATCH * CONTEXT / fastest(step, 1.0)


def decoding(size, compiled):
    torch.manual_seed(1)
    model = Decoder(**CLASSES[size]).eval()
    cache, positions = model.cache(), list(torch.arange(CONTEXT).split(1))
    tokens = [torch.tensor([[7 * i % VOCAB]]) for i in range(CONTEXT)]
    step = torch.compile(model.step) if compiled else model.step

    def context(best):
        with torch.inference_mode():
            start = time.perf_counter()
            for i, (token, position) in enumerate(zip(tokens, positions)):
                step(token, position, cache)
                if (i + 1) % STRETCH == 0:
                    now = time.perf_counter()
                    best[i // STRETCH] = min(best[i // STRETCH], now - start)
                    start = now

    def rate():
        best, began = [math.inf] * (CONTEXT // STRETCH), time.perf_counter()
        while time.perf_counter() - began < 1.0 or math.inf in best:
            context(best)
        return CONTEXT / sum(best)

    check_decoding(model, tokens, positions)
    rate()
    return rate


def check_decoding(model, tokens, positions):
    """Decoding step by step must give what the whole sequence gives."""
    cache = model.cache()
    with torch.inference_mode():
        want = model(torch.cat(tokens, dim=1))
        got = torch.cat([model.step(t, p, cache) for t, p in zip(tokens, positions)], dim=1)
    if not torch.allclose(want, got, atol=1e-4):
        sys.exit(f"decoding differs from the whole sequence by {(want - got).abs().max()}")


def mito_rows(binary, bench, threads, patience):
    """One round of mito; the rows with a rate in tokens per second."""
    out = subprocess.run(
        [binary, "bench", bench, "--rounds", "1", "--json", "--quiet", "--threads", str(max(2, threads)), "--patience", f"{patience:.0f}s"],
        check=True, capture_output=True, text=True,
    ).stdout
    return {(r["name"], r.get("threads", 1)): r["value"] for r in json.loads(out)["results"] if r["unit"] == "tok/s"}


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def measure(args):
    probes = []  # (name, threads, rate)
    modes = [("eager", False)] + ([] if args.no_compile else [("compiled", True)])
    for size in CLASSES:
        for mode, compiled in modes:
            # Compile under the number of threads that the measurement will have: the code depends on it.
            torch.set_num_threads(args.threads)
            probes.append((f"train/{size}, PyTorch {mode}", args.threads, training(size, compiled)))
            torch.set_num_threads(1)
            probes.append((f"decode/{size} float32, PyTorch {mode}", 1, decoding(size, compiled)))
            print(f"{size} {mode}: ready", file=sys.stderr)
    values, quiet = {}, Quiet(args.patience)
    for n in range(args.rounds):
        for name, threads, rate in probes:
            torch.set_num_threads(threads)
            values.setdefault((name, threads), []).append(quiet.measure(threads, rate))
        if args.mito:
            torch.set_num_threads(1)
            for bench in ("train", "decode"):
                for key, value in mito_rows(args.mito, bench, args.threads, args.patience / args.rounds).items():
                    values.setdefault(key, []).append(value)
        print(f"round {n + 1} of {args.rounds}", file=sys.stderr)
    return values, quiet.disturbed / quiet.measured


def rows(values, threads):
    def row(name, threads, unit, v):
        return dict(name=name, threads=threads, value=statistics.median(v), unit=unit, low=min(v), high=max(v))

    out = [row(name, t, "tok/s", v) for (name, t), v in values.items() if "PyTorch" in name]
    for size in CLASSES:
        pairs = [
            ((f"train/{size}, batch {BATCH}x{CONTEXT}, AdamW", threads), (f"train/{size}, PyTorch ", threads)),
            ((f"decode/{size} float32", 1), (f"decode/{size} float32, PyTorch ", 1)),
            ((f"decode/{size} int8", 1), (f"decode/{size} float32, PyTorch ", 1)),
        ]
        for mine, (theirs, t) in pairs:
            if mine not in values:
                continue
            out.append(row("mito " + mine[0], mine[1], "tok/s", values[mine]))
            for mode in ("eager", "compiled"):
                if (theirs + mode, t) in values:
                    ratio = [a / b for a, b in zip(values[mine], values[theirs + mode, t])]
                    out.append(row(f"mito {mine[0]} against PyTorch {mode} float32", mine[1], "x", ratio))
    return out


def number(v):
    return f"{v / 1000:.1f}K" if v >= 10000 else f"{v:.0f}" if v >= 100 else f"{v:.2f}"


def markdown(report, command):
    lines = [
        HEADING, "", f"PyTorch {report['machine']['torch']}, Python {report['machine']['python']}, median of {report['rounds']} rounds,",
        f"{100 * report['disturbed']:.0f}% of PyTorch's measurements were disturbed by other programs;", f"`{command}`.", "", "| what | threads | measured | unit | low to high |", "|---|---|---|---|---|",
    ]
    for r in report["results"]:
        lines.append(f"| {r['name']} | {r['threads']} | {number(r['value'])} | {r['unit']} | {number(r['low'])} to {number(r['high'])} |")
    return "\n".join(lines) + "\n"


HEADING = "## PyTorch on the CPU, side by side"


def update(path, section):
    """Put the section into the file, in place of the one with its heading or at the end."""
    text = ""
    if os.path.exists(path):
        with open(path) as f:
            text = f.read()
    kept, skipping = [], False
    for line in text.splitlines(keepends=True):
        if line.startswith("## "):
            skipping = line.rstrip() == HEADING
        if not skipping:
            kept.append(line)
    text = "".join(kept).rstrip("\n")
    with open(path, "w") as f:
        f.write((text + "\n\n" if text else "") + section)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--threads", type=int, default=2, help="of training (default 2); decoding has one")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--patience", type=float, default=0, help="seconds to measure again what other programs disturbed")
    p.add_argument("--mito", help="a mito binary to measure in the same rounds")
    p.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    p.add_argument("--out", help="put the table into this markdown file")
    args = p.parse_args()
    torch.set_num_interop_threads(1)
    values, disturbed = measure(args)
    report = dict(
        machine=dict(processor=processor(), cores=os.cpu_count(), torch=torch.__version__, python=platform.python_version()),
        rounds=args.rounds, disturbed=disturbed, results=rows(values, args.threads),
    )
    command = "python3 bench/peers/pytorch_cpu.py" + "".join(
        f" {flag} {value}" for flag, value in (("--threads", args.threads), ("--rounds", args.rounds), ("--patience", f"{args.patience:g}")))
    command += " --mito ./mito" * bool(args.mito) + " --no-compile" * args.no_compile
    section = markdown(report, command)
    if args.out:
        update(args.out, section)
    print(json.dumps(report, indent=2) if args.json else section, end="")


if __name__ == "__main__":
    main()

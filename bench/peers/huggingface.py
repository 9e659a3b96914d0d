#!/usr/bin/env python3
"""Opens what mito writes in transformers, and what transformers writes in mito, and compares logits and tokens.

    python3 bench/peers/huggingface.py --mito ./mito [--only NAME ...]

needs the packages of bench/peers/huggingface.txt. Models are tiny and made here: nothing is downloaded. Prints one line
for each check and exits with 1 if one failed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
import warnings

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="warning", TOKENIZERS_PARALLELISM="false", CUDA_VISIBLE_DEVICES="")

import logging

import numpy as np
import torch
import transformers
from gpt2_teacher import byte_level_bpe
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

BAR = 1e-4  # largest difference of a logit between float models
TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer\nThe slings and arrows of outrageous fortune,\n"
HARD = [
    "a", " ", "  ", " a", "a ", "\n", "\r\n", "a\r\nb", "\t\tx", "it's we'll THEY'RE", "1234567 8.90", "é", "e\u0301", "naïve café", "日本語テキスト",
    "🙂", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "\u0000\u0001\u007f", "a\u00a0b\u2003c\u200bd", "مرحبا بالعالم", "नमस्ते", "<|endoftext|>", "x<|endoftext|> y", "<s>", "▁a▁",
    "foo_bar(baz) != {x: [1,2]};", "   leading and trailing   ", "a" * 60, "!?!?...---===", "\u2028\u2029\ufeff", "ǅ ﬁ ² ½ Ⅷ", "''s 's 'S", "",
]


class Warnings(logging.Handler):
    """Collects what transformers says: a folder that opens with a warning is no folder that opens."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Bench:
    def __init__(self, mito, only):
        self.mito, self.only, self.failed, self.passed = os.path.abspath(mito), only, [], 0
        self.heard = Warnings()
        transformers.utils.logging.get_logger().addHandler(self.heard)
        self.root = tempfile.mkdtemp(prefix="mito-peers-")

    def run(self, *args, fails=False):
        p = subprocess.run([self.mito, *map(str, args)], capture_output=True, text=True)
        if (p.returncode != 0) != fails:
            raise RuntimeError(f"mito {' '.join(map(str, args))}: exit {p.returncode}\n{p.stderr}")
        return p.stderr if fails else p.stdout

    def check(self, name, what):
        if self.only and not any(o in name for o in self.only):
            return
        self.heard.lines.clear()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                said = what()
            said_not = [f"{w.category.__name__}: {w.message}" for w in caught if "torch" not in str(w.filename)] + self.heard.lines
            if said_not:
                raise AssertionError("warnings: " + " | ".join(said_not)[:600])
            print(f"ok    {name:45} {said}", flush=True)
            self.passed += 1
        except Exception as e:
            self.failed.append(name)
            detail = str(e) if isinstance(e, (AssertionError, RuntimeError)) else traceback.format_exc()
            print(f"FAIL  {name:45} {detail}", flush=True)

    def path(self, name):
        return os.path.join(self.root, re.sub(r"[^a-zA-Z0-9.]+", "_", name))

    def logits(self, folder, ids):
        out = self.path("logits.npy")
        self.run("logits", "--model", folder, "--tokens", ",".join(map(str, ids)), "--out", out)
        return np.load(out)

    def tokens(self, folder, text):
        out = self.run("logits", "--model", folder, "--prompt", text, "--out", self.path("tokens.npy"), "--json")
        return json.loads(out)["tokens"]


def load(folder, **more):
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **more)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not info.get(key), f"{key}: {info[key]}"
    assert model.dtype == torch.float32, model.dtype
    return model.eval()


def theirs(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def nats(model, rows):
    """The loss of rows of tokens; that of transformers warns where a config does not name one."""
    logits = model(rows).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1))


def compare(a, b, bar=BAR):
    assert a.shape == b.shape, f"{a.shape} against {b.shape}"
    worst = float(np.abs(a - b).max())
    assert worst <= bar, f"logits differ by {worst:.2e}, at most {bar:.0e} is allowed (largest {np.abs(b).max():.2f})"
    return f"max |difference| {worst:.1e} of {np.abs(b).max():.1f}"


def stream(n, vocab):
    return [(i * 37 + i * i) % vocab for i in range(n)]


# Keys of mito's config.json, and the architecture of transformers that such a model is saved as.
EDGE = dict(hidden_size=32, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, hidden_act="relu2", qk_norm=False)
GPT = dict(norm_type="layernorm", position_embedding="learned", hidden_act="gelu", num_key_value_heads=4)
SHAPES = {
    "edge": ("arcee", {}),
    "edge untied, wide heads": ("arcee", dict(tie_word_embeddings=False, head_dim=12)),
    "relu, biases": ("arcee", dict(hidden_act="relu", attention_bias=True, mlp_bias=True)),
    "gelu": ("arcee", dict(hidden_act="gelu")),
    "window as wide as the context": ("arcee", dict(sliding_window=64)),
    "QK-norm": ("apertus", dict(qk_norm=True)),
    "QK-norm, wide heads, biases": ("apertus", dict(qk_norm=True, head_dim=12, attention_bias=True)),
    "SwiGLU": ("llama", dict(hidden_act="swiglu")),
    "SwiGLU, biases": ("llama", dict(hidden_act="swiglu", attention_bias=True, mlp_bias=True, tie_word_embeddings=False)),
    "SwiGLU, window": ("mistral", dict(hidden_act="swiglu", sliding_window=9)),
    "SwiGLU, QK-norm": ("qwen3", dict(hidden_act="swiglu", qk_norm=True)),
    "SwiGLU, QK-norm, window": ("qwen3", dict(hidden_act="swiglu", qk_norm=True, sliding_window=9)),
    "GPT-2": ("gpt2", dict(GPT, attention_bias=True, mlp_bias=True)),
    "GPT-2 without biases": ("gpt2", GPT),
    "GPT-2, relu, untied": ("gpt2", dict(GPT, hidden_act="relu", tie_word_embeddings=False)),
    "GPT-2, unscaled": ("gpt2", dict(GPT, attention_scale=1.0)),
    "GPT-Neo": ("gpt_neo", dict(GPT, mlp_bias=True, attention_scale=1.0, layer_shapes=[
        dict(num_attention_heads=4, num_key_value_heads=4, intermediate_size=80, sliding_window=w, attention_scale=1.0) for w in (0, 9)])),
    "LayerNorm, RoPE, SwiGLU": ("stablelm", dict(norm_type="layernorm", hidden_act="swiglu")),
    "LayerNorm, RoPE, ReLU², window": ("starcoder2", dict(norm_type="layernorm", sliding_window=9)),
    "LayerNorm, RoPE, biases": ("starcoder2", dict(norm_type="layernorm", hidden_act="gelu", attention_bias=True, mlp_bias=True)),
    "ReLU², window": ("mito", dict(sliding_window=9)),
    "layers of unequal shape": ("mito", dict(layer_shapes=[
        dict(num_attention_heads=h, num_key_value_heads=h // 2, intermediate_size=f, sliding_window=0) for h, f in ((4, 80), (2, 48))])),
    "per-layer embeddings": ("mito", dict(ple_dim=12)),
    "RMSNorm, learned positions": ("mito", dict(position_embedding="learned")),
}


def trained(b, name, config, *more):
    folder, keys = b.path(name), b.path(name) + ".json"
    with open(keys, "w") as f:
        json.dump({**EDGE, **config}, f)
    corpus = b.path("corpus.txt")
    if not os.path.exists(corpus):
        with open(corpus, "w") as f:
            f.write(TEXT * 40 + "".join(sorted(set("".join(HARD)) - {"\x00"})))
    b.run("train", "--corpus", corpus, "--config", keys, "--steps", 6, "--batch", 4, "--lr", 0.02, "--out", folder, "--quiet", *more)
    return folder


def written(b):
    """Every shape, trained for a few steps by mito, in transformers."""
    for name, (kind, config) in SHAPES.items():
        def one(name=name, kind=kind, config=config):
            folder = trained(b, "w " + name.replace(",", ""), config)
            said = []
            for part in ("model", "last"):
                at = os.path.join(folder, part)
                with open(os.path.join(at, "config.json")) as f:
                    got = json.load(f)["model_type"]
                assert got == kind, f"saved as {got}, expected {kind}"
                model = load(at, **(dict(trust_remote_code=True) if kind == "mito" else {}))
                ids = stream(48, model.config.vocab_size)
                said.append(compare(b.logits(at, ids), theirs(model, ids)))
            out = model.generate(torch.tensor([ids[:5]]), max_new_tokens=4, do_sample=False)
            assert out.shape[1] == 9 or out[0, -1] == model.config.eos_token_id
            return f"{kind}: {said[0]}"
        b.check("mito → transformers: " + name, one)


def tokenizers(b):
    """Characters and a byte-level BPE of mito's, in AutoTokenizer, for every architecture."""
    for name, config, more in (("characters", {}, []), ("BPE", {}, ["--bpe", 400]), ("characters gpt2", GPT, []), ("BPE gpt2", GPT, ["--bpe", 400]),
                               ("characters qwen3", dict(hidden_act="swiglu", qk_norm=True), []), ("BPE llama", dict(hidden_act="swiglu"), ["--bpe", 400])):
        def one(name=name, config=config, more=more):
            folder = os.path.join(trained(b, "t " + name, config, *more), "model")
            tok = AutoTokenizer.from_pretrained(folder)
            seen = 0
            for text in HARD:
                if "\x00" in text or text == "":
                    continue  # no program takes these as an argument
                try:
                    ours = b.tokens(folder, text)
                except RuntimeError as e:
                    if "is not among the" not in str(e):
                        raise
                    continue  # a character that the model has no token for
                ids = tok(text)["input_ids"]
                assert ids == ours, f"{text!r}: {ids} against mito's {ours}"
                back = tok.decode(ids)
                assert back == text, f"{text!r} came back as {back!r}"
                seen += 1
            assert tok.model_max_length == 64 and seen > 20, (tok.model_max_length, seen)
            return f"{type(tok).__name__}, {seen} texts"
        b.check("tokenizer → AutoTokenizer: " + name, one)


BASE = dict(vocab_size=300, hidden_size=48, intermediate_size=112, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=96,
            bos_token_id=0, eos_token_id=1, pad_token_id=None)
ROPE = {"rope_type": "default", "rope_theta": 5000.0}
GPT2 = dict(vocab_size=300, n_embd=48, n_layer=3, n_head=4, n_positions=96, bos_token_id=0, eos_token_id=1)
NEO = dict(vocab_size=300, hidden_size=48, num_layers=4, num_heads=4, max_position_embeddings=96, intermediate_size=None, window_size=9,
           attention_types=[[["global", "local"], 2]], bos_token_id=0, eos_token_id=1)
FOREIGN = {
    "llama": dict(BASE, num_key_value_heads=2, rope_parameters=ROPE),
    "llama tied, biases": dict(BASE, num_key_value_heads=4, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "mistral": dict(BASE, num_key_value_heads=2, sliding_window=9, head_dim=16),
    "qwen3": dict(BASE, num_key_value_heads=2, head_dim=16, rope_parameters=ROPE),
    "qwen3 windows": dict(BASE, num_key_value_heads=2, head_dim=16, use_sliding_window=True, sliding_window=9, max_window_layers=1),
    "arcee": dict(BASE, num_key_value_heads=2, rope_parameters=ROPE),
    "apertus": dict(BASE, num_key_value_heads=2, hidden_act="relu2", rope_parameters=ROPE),
    "gpt2": GPT2,
    "gpt2 unscaled": dict(GPT2, scale_attn_weights=False),
    "gpt2 scaled by layer": dict(GPT2, scale_attn_by_inverse_layer_idx=True, activation_function="relu", n_inner=60),
    "gpt_neo": NEO,
    "stablelm": dict(BASE, num_key_value_heads=2, partial_rotary_factor=1.0, use_qkv_bias=True),
    "starcoder2": dict(BASE, num_key_value_heads=2, sliding_window=9),
}


def foreign(name, dtype):
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name.split()[0], **FOREIGN[name])).eval()
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.normal_(0, 0.2) if p.ndim > 1 or n.endswith("bias") else p.normal_(1, 0.2)
    return model.to(dtype)


def read(b):
    """What save_pretrained writes, in mito: each architecture, in three precisions, whole and in shards."""
    for name in FOREIGN:
        for dtype, shard in ((torch.float32, "50GB"), (torch.float32, "60KB"), (torch.bfloat16, "50GB"), (torch.float16, "30KB")):
            label = f"{name} {str(dtype)[6:]}" + (" sharded" if "K" in shard else "")

            def one(name=name, dtype=dtype, shard=shard, label=label):
                folder = b.path("r " + label.replace(",", ""))
                foreign(name, dtype).save_pretrained(folder, max_shard_size=shard)
                assert os.path.exists(os.path.join(folder, "model.safetensors.index.json")) == ("K" in shard), os.listdir(folder)
                model = load(folder, dtype=torch.float32)
                ids = stream(64, 300)
                return compare(b.logits(folder, ids), theirs(model, ids))
            b.check("transformers → mito: " + label, one)


def erf(b):
    """GELU by erf, which mito does not compute: refused by its key, for its tanh form gives other logits."""
    def one():
        folder = b.path("erf")
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **GPT2, activation_function="gelu")).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.normal_(0, 0.2)
        model.save_pretrained(folder)
        ids = stream(64, 300)
        why = b.run("logits", "--model", folder, "--tokens", "1,2", "--out", b.path("erf.npy"), fails=True)
        assert "activation_function" in why and "erf" in why, why
        config = os.path.join(folder, "config.json")
        with open(config) as f:
            keys = json.load(f)
        with open(config, "w") as f:
            json.dump({**keys, "activation_function": "gelu_new"}, f)
        apart = float(np.abs(b.logits(folder, ids) - theirs(model, ids)).max())
        assert apart > BAR, f"read as tanh, logits differ by {apart:.1e} only: it could be read"
        return f"refused; read as tanh, logits would differ by {apart:.1e}"
    b.check("GELU by erf", one)


def int8(b):
    """INT8 students by `mito export hf`, in compressed-tensors: the same weights, and nearly the same loss."""
    for name in ("edge", "edge untied, wide heads", "QK-norm", "SwiGLU", "SwiGLU, window", "GPT-2 without biases", "ReLU², window", "layers of unequal shape",
                 "edge in blocks", "ReLU², window in blocks"):
        def one(name=name):
            kind, config = SHAPES[name.removesuffix(" in blocks")]
            kind = "mito" if kind == "gpt2" else kind  # the matrices of gpt2 are not those of Linear
            folder = trained(b, "i " + name.replace(",", ""), config, "--steps", 80)
            student, out = b.path("q " + name), b.path("e " + name)
            if name.endswith(" in blocks"):
                folder, whole = b.path("p " + name), folder
                b.run("prune", "--model", whole, "--corpus", b.path("corpus.txt"), "--context", 32, "--kind", "block4x8", "--sparsity", 0.5, "--score", "magnitude", "--steps", 100, "--out", folder, "--quiet")
            b.run("quantize", "--model", folder, "--out", student)
            b.run("export", "hf", "--model", student, "--out", out, "--check", "--json")
            if name.endswith(" in blocks"):
                with open(os.path.join(out, "config.json")) as f:
                    sparse = json.load(f)["quantization_config"]["sparsity_config"]
                assert sparse["format"] == "dense" and sparse["global_sparsity"] > 0.3, sparse
            digest = [json.loads(b.run("verify", "--model", d, "--json"))["digest"] for d in (student, out)]
            assert digest[0] == digest[1], f"digests {digest}"
            trust = dict(trust_remote_code=True) if kind == "mito" else {}
            model = load(out, **trust)
            assert model.config.model_type == kind, model.config.model_type
            tok = AutoTokenizer.from_pretrained(out, **trust)
            losses, differ = [[], []], []
            for at in range(0, 2000, 40):
                ids = tok((TEXT * 40)[at:at + 64])["input_ids"][:64]
                if at % 200:
                    continue
                logits = b.logits(student, ids[:-1]), theirs(model, ids[:-1])
                differ.append(np.abs(logits[0] - logits[1]).mean())
                for k in range(2):
                    losses[k].append(float(torch.nn.functional.cross_entropy(torch.tensor(logits[k]), torch.tensor(ids[1:]))))
            ours, other = np.mean(losses[0]), np.mean(losses[1])
            assert abs(ours - other) < max(0.001, 0.005 * ours), f"loss {other:.4f} against mito's {ours:.4f}"
            return f"{kind}: loss {other:.4f}, mito {ours:.4f}; mean |difference| of logits {np.mean(differ):.4f}"
        b.check("INT8 → compressed-tensors: " + name, one)


def library(kind):
    """A tokenizer that the tokenizers library trains: GPT-2's kind, or Llama's."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    if kind == "gpt2":
        return byte_level_bpe(TEXT, 299)
    tok = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok.train_from_iterator(TEXT.splitlines(), trainers.BpeTrainer(
        vocab_size=300, show_progress=False, limit_alphabet=40, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]))
    data = json.loads(tok.to_str())  # in Llama's files the bytes are no added tokens
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(data))


def teachers(b):
    """A folder of transformers with its tokenizer: the same ids, and a student distilled from it and quantised."""
    from transformers import PreTrainedTokenizerFast

    for kind in ("gpt2", "llama"):
        def one(kind=kind):
            folder, student = b.path("teacher " + kind), b.path("student " + kind)
            foreign(kind, torch.float32).save_pretrained(folder)
            fast = PreTrainedTokenizerFast(tokenizer_object=library(kind), eos_token="<|endoftext|>" if kind == "gpt2" else "</s>")
            fast.save_pretrained(folder)
            seen = 0
            for text in HARD:
                if "\x00" in text or text == "" or len(fast(text)["input_ids"]) > 96:
                    continue
                ids = fast(text)["input_ids"]
                assert ids == b.tokens(folder, text), f"{text!r}: {ids} against mito's {b.tokens(folder, text)}"
                seen += 1
            corpus = b.path("corpus.txt")
            with open(corpus, "w") as f:
                f.write(TEXT * 40)
            b.run("distill", "--teacher", folder, "--corpus", corpus, "--context", 32, "--arch", "micro", "--steps", 3, "--batch", 4, "--out", student, "--quiet")
            b.run("quantize", "--model", student, "--out", student + "-int8")
            load(os.path.join(student, "model"))
            loss = json.loads(b.run("eval", "--model", folder, "--corpus", corpus, "--context", 32, "--json"))["loss_nats"]
            text = b.run("generate", "--model", folder, "--prompt", "To be", "--max-tokens", 3)
            assert seen > 20 and loss > 0 and text, (seen, loss, text)
            return f"{seen} texts with the same ids; distilled and quantised"
        b.check("a teacher of transformers: " + kind, one)


def templates(b):
    """A tokenizer that puts <s> before a text: prompts and the rows of evaluations begin with it, and a student of its tokens keeps it."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    def one():
        folder, student, context = b.path("template"), b.path("template student"), 32
        tok = library("llama")
        begin = tok.token_to_id("<s>")
        tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", begin)])
        fast = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>")
        foreign("llama", torch.float32).save_pretrained(folder)
        fast.save_pretrained(folder)
        model, text = load(folder), b.path("template.txt")
        assert fast("To be")["input_ids"] == b.tokens(folder, "To be") and b.tokens(folder, "To be")[0] == begin
        with open(text, "w") as f:
            f.write(TEXT * 3)
        ids, nats, n, stretch = fast(TEXT * 3, add_special_tokens=False)["input_ids"], 0.0, 0, context - 1
        for at in range(0, len(ids) - 1, stretch):
            row, wanted = ids[at:at + stretch], ids[at + 1:at + stretch + 1]
            logits = torch.tensor(theirs(model, [begin] + row[:len(wanted)]))[1:]
            nats += float(torch.nn.functional.cross_entropy(logits.double(), torch.tensor(wanted), reduction="sum"))
            n += len(wanted)
        ours = json.loads(b.run("eval", "--model", folder, "--corpus", text, "--all", "--context", context, "--json"))
        assert ours["tokens"] == n and abs(ours["loss_nats"] - nats / n) < 1e-5, (ours, nats / n, n)
        with open(text, "w") as f:
            f.write(TEXT * 40)
        b.run("distill", "--teacher", folder, "--corpus", text, "--context", context, "--arch", "micro", "--steps", 3, "--batch", 4, "--out", student, "--quiet")
        assert AutoTokenizer.from_pretrained(os.path.join(student, "model"))("To be")["input_ids"][0] == begin
        return f"loss {ours['loss_nats']:.5f} over {n} tokens, transformers' {nats / n:.5f}"
    b.check("a template, in evaluation and distilling", one)


def hard_strings(pool, n, seed):
    """Texts that programs read differently, from a pool of pieces."""
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(pool, size=int(k))) for k in rng.integers(1, 28, size=n)]


POOL = list("aZéß 's'T\n\r\t 1٣²-/._{}日ひ한ʰ\u0301\u200d\u00a0🙂▁'\u0000\u007f\ufeff\u2028ǅﬁ½") + [
    "  ", "'LL", "'re", "<|endoftext|>", "<s>", "word", " the", "HTTP", "\u1100\u1161", "👩‍👩‍👧", "مر", "नम", "<0x41>", "\r\n", "a\u0306\u0301", "1234"]


def many(b):
    """The tokenizers library and mito on 3,049 hard strings and 3,000 lists of ids, for each kind of tokenizer."""
    import importlib.util

    from tokenizers import Tokenizer

    here = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location("make_kinds", os.path.join(here, "../../engine/tokenizer/testdata/make_kinds.py"))
    kinds = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kinds)
    files = {}
    for name, more in (("characters", []), ("BPE", ["--bpe", 400])):
        files[name] = lambda name=name, more=more: os.path.join(trained(b, "n " + name, {}, *more), "model", "tokenizer.json")
    for name in ("gpt2", "llama"):
        files["library, " + name] = lambda name=name: library(name).to_str()
    for name, k in kinds.KINDS.items():
        files[name] = lambda k=k: json.dumps(kinds.build(k, kinds.BPE, kinds.ADDED))
    for name, k in kinds.S_KINDS.items():
        files[name] = lambda k=k: json.dumps(kinds.build(k, kinds.SENTENCE, kinds.S_ADDED, True))
    for name, make in files.items():
        def one(name=name, make=make):
            path = make()
            if not os.path.exists(path[:200]):
                text, path = path, b.path("n " + name + ".json")
                with open(path, "w") as f:
                    f.write(text)
            tok = Tokenizer.from_file(path)
            pool = POOL
            if name == "characters":  # others are errors in both
                pool = [c for c in tok.get_vocab() if not c.startswith("<|")] + [" ", "\n"]
            texts = hard_strings(pool, 3049, 11)
            rng = np.random.default_rng(12)
            lists = [rng.integers(0, tok.get_vocab_size(), size=int(n)).tolist() for n in rng.integers(0, 20, size=3000)]
            stdin = "\n".join(json.dumps(x) for x in texts + lists)
            p = subprocess.run([b.mito, "tokens", "--model", path], input=stdin, capture_output=True, text=True)
            assert p.returncode == 0, p.stderr
            answers = [json.loads(line) for line in p.stdout.split("\n") if line]
            assert len(answers) == 6049, len(answers)
            for text, ids in zip(texts, answers):
                want = tok.encode(text, add_special_tokens=False).ids
                assert ids == want, f"{text!r}: {want} against mito's {ids}"
            for ids, text in zip(lists, answers[3049:]):
                want = tok.decode(ids, skip_special_tokens=False)
                assert text == want, f"{ids}: {want!r} against mito's {text!r}"
            return f"{len(texts)} texts, {len(lists)} lists of ids"
        b.check("tokenizers: " + name, one)


def adapters(b):
    """Adapters of mito's in PEFT, and adapters that PEFT trained in mito: the same logits as the merged model."""
    import peft

    for name in ("edge", "QK-norm", "SwiGLU"):
        def ours(name=name):
            base = trained(b, "a1 " + name, SHAPES[name][1])
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")  # PEFT says it of itself
            run, merged = b.path("lora " + name), b.path("merged " + name)
            b.run("lora", "--model", base, "--corpus", b.path("corpus.txt"), "--context", 32, "--steps", 8, "--batch", 4, "--rank", 3, "--alpha", 7, "--out", run, "--quiet")
            b.run("lora", "--merge", "--model", base, "--adapter", run, "--out", merged)
            model = peft.PeftModel.from_pretrained(load(os.path.join(base, "model")), os.path.join(run, "adapter")).eval()
            ids = stream(48, model.config.vocab_size)
            moved = float(np.abs(b.logits(merged, ids) - b.logits(base, ids)).max())
            assert moved > 0.01, f"the adapter moves logits by {moved} only"
            return f"{compare(b.logits(merged, ids), theirs(model, ids))}; the adapter moves them by {moved:.2f}"
        b.check("adapter → PEFT: " + name, ours)

        def peers(name=name):
            base = trained(b, "a2 " + name, SHAPES[name][1])
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            torch.manual_seed(2)
            config = peft.LoraConfig(r=4, lora_alpha=6, use_rslora=name == "SwiGLU", target_modules=["q_proj", "v_proj", "up_proj", "down_proj"], task_type="CAUSAL_LM")
            model = peft.get_peft_model(load(os.path.join(base, "model")), config)
            o = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
            rows = torch.tensor([stream(32, model.config.vocab_size)])
            for _ in range(6):
                nats(model, rows).backward()
                o.step()
                o.zero_grad()
            adapter, merged = b.path("peft " + name), b.path("peft merged " + name)
            model.eval().save_pretrained(adapter)
            b.run("lora", "--merge", "--model", base, "--adapter", adapter, "--out", merged)
            ids = stream(48, model.config.vocab_size)
            loss = [json.loads(b.run("eval", "--corpus", b.path("corpus.txt"), "--context", 32, "--json", "--model", *how))["loss_nats"]
                    for how in ((merged,), (base, "--adapter", adapter))]
            assert abs(loss[0] - loss[1]) < 1e-4, f"merged {loss[0]}, beside the model {loss[1]}"
            return compare(b.logits(merged, ids), theirs(model, ids)) + "; the same loss unmerged"
        b.check("PEFT → adapter: " + name, peers)


def events(b):
    """The events of a run in TensorBoard's reader: every number of metrics.jsonl, in float32."""
    def one():
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        run = trained(b, "tb", {})
        e = EventAccumulator(run, size_guidance={"scalars": 0})
        e.Reload()
        seen = 0
        with open(os.path.join(run, "metrics.jsonl")) as f:
            want = [json.loads(line) for line in f]
        for tag in e.Tags()["scalars"]:
            have = [(x.step, x.value) for x in e.Scalars(tag)]
            expected = [(r["step"], float(np.float32(r[tag]))) for r in want if tag in r]
            assert have == expected and have, f"{tag}: {have[:3]} against {expected[:3]}"
            seen += len(have)
        assert seen > 8, seen
        return f"{len(e.Tags()['scalars'])} curves, {seen} numbers, all equal"
    b.check("events → TensorBoard", one)


def across(b):
    """One command: a GPT-2-shaped teacher of transformers, with its BPE, distilled into a 460K INT8 student of characters."""
    from transformers import PreTrainedTokenizerFast

    def one():
        folder, out = b.path("gpt2 teacher"), b.path("pipeline")
        tok = PreTrainedTokenizerFast(tokenizer_object=library("gpt2"), eos_token="<|endoftext|>")
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **GPT2))
        ids = torch.tensor(tok(TEXT * 40)["input_ids"])
        o = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for step in range(60):  # enough that it knows something
            rows = torch.stack([ids[i:i + 64] for i in range(step % 50, len(ids) - 64, 211)])
            nats(model, rows).backward()
            o.step()
            o.zero_grad()
        model.eval().save_pretrained(folder)
        tok.save_pretrained(folder)
        corpus = b.path("corpus.txt")
        with open(corpus, "w") as f:
            f.write(TEXT * 40)
        r = json.loads(b.run("pipeline", "--teacher", folder, "--tokenizer", "chars", "--arch", "edge", "--preset", "quick", "--corpus", corpus, "--out", out, "--json", "--quiet"))
        params = r["compressed"]["params"]
        assert 400_000 < params < 500_000 and r["compressed"]["scheme"] == "int8" and r["compressed"]["digest"], params
        bits = {c["name"]: c["bits_per_byte"] for c in r["candidates"]}
        load(os.path.join(out, "student", "model"))
        digest = json.loads(b.run("verify", "--model", os.path.join(out, "compressed"), "--json"))["digest"]
        assert digest == r["compressed"]["digest"] and bits["compressed"] < 2.5, bits
        return f"{params} parameters of INT8; bits per byte " + ", ".join(f"{k} {v:.3f}" for k, v in bits.items())
    b.check("GPT-2 of transformers → INT8 student", one)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--mito", required=True)
    p.add_argument("--only", nargs="*", default=[])
    a = p.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    b = Bench(a.mito, a.only)
    for part in (written, tokenizers, many, read, erf, teachers, templates, across, int8, adapters, events):
        part(b)
    print(f"{b.passed} passed, {len(b.failed)} failed" + (": " + ", ".join(b.failed) if b.failed else ""))
    sys.exit(1 if b.failed or not b.passed else 0)


if __name__ == "__main__":
    main()

"""Makes the golden fixtures of package model with PyTorch: python golden.py

Each file holds a tiny model's weights, one batch, and what PyTorch computes from it in float64 by its own layers and
autograd: the logits, the loss of every target and the gradient of every weight for the weighted mean loss. Weights are
float32 numbers, so both sides start from the same.
"""

import json
import struct

import torch
import torch.nn.functional as F

torch.manual_seed(20)
B, T, V, L = 2, 16, 13, 2


def parameters(shapes):
    p = {}
    for name, shape in shapes.items():
        std = shape[1] ** -0.5 if len(shape) == 2 and "embed" not in name else 0.4
        w = torch.randn(shape) * std + (1.0 if name.endswith("norm.weight") else 0.0)
        p[name] = w.double().requires_grad_()
    return p


def heads(x, n, d):
    return x.view(B, T, n, d).transpose(1, 2)


def rope(x, theta):
    """Rotary positions as Hugging Face's Llama computes them (rotate_half)."""
    d = x.shape[-1]
    freq = theta ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angle = torch.outer(torch.arange(T, dtype=torch.float64), freq)
    angle = torch.cat((angle, angle), -1)
    rotated = torch.cat((-x[..., d // 2 :], x[..., : d // 2]), -1)
    return x * angle.cos() + rotated * angle.sin()


def forward(c, p, ids):
    def linear(x, name):
        return F.linear(x, p[name + ".weight"], p.get(name + ".bias"))

    def norm(x, name):
        if c["norm_type"] == "layernorm":
            return F.layer_norm(x, x.shape[-1:], p[name + ".weight"], p[name + ".bias"], c["rms_norm_eps"])
        return F.rms_norm(x, x.shape[-1:], p[name + ".weight"], c["rms_norm_eps"])

    n_q, n_kv, d = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    x = F.embedding(ids, p["model.embed_tokens.weight"])
    if c["position_embedding"] == "learned":
        x = x + p["model.embed_positions.weight"][:T]
    for i in range(L):
        at = f"model.layers.{i}."
        n = norm(x, at + "input_layernorm")
        q = heads(linear(n, at + "self_attn.q_proj"), n_q, d)
        k = heads(linear(n, at + "self_attn.k_proj"), n_kv, d)
        v = heads(linear(n, at + "self_attn.v_proj"), n_kv, d)
        if c["position_embedding"] == "rope":
            q, k = rope(q, c["rope_theta"]), rope(k, c["rope_theta"])
        k, v = (t.repeat_interleave(n_q // n_kv, 1) for t in (k, v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + linear(a.transpose(1, 2).reshape(B, T, n_q * d), at + "self_attn.o_proj")
        n = norm(x, at + "post_attention_layernorm")
        up = linear(n, at + "mlp.up_proj")
        if c["hidden_act"] == "swiglu":
            h = F.silu(linear(n, at + "mlp.gate_proj")) * up
        else:
            h = F.gelu(up, approximate="tanh")
        x = x + linear(h, at + "mlp.down_proj")
    x = norm(x, "model.norm")
    return F.linear(x, p["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"])


def shapes(c):
    width, mlp = c["hidden_size"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    s = {"model.embed_tokens.weight": (V, width)}
    if c["position_embedding"] == "learned":
        s["model.embed_positions.weight"] = (c["max_position_embeddings"], width)

    def norm(name):
        s[name + ".weight"] = (width,)
        if c["norm_type"] == "layernorm":
            s[name + ".bias"] = (width,)

    def linear(name, out, inputs, bias):
        s[name + ".weight"] = (out, inputs)
        if bias:
            s[name + ".bias"] = (out,)

    for i in range(L):
        at = f"model.layers.{i}."
        norm(at + "input_layernorm")
        for name, out in ("q", q), ("k", kv), ("v", kv):
            linear(at + f"self_attn.{name}_proj", out, width, c["attention_bias"])
        linear(at + "self_attn.o_proj", width, q, c["attention_bias"])
        norm(at + "post_attention_layernorm")
        for name in ("gate", "up") if c["hidden_act"] == "swiglu" else ("up",):
            linear(at + f"mlp.{name}_proj", mlp, width, c["mlp_bias"])
        linear(at + "mlp.down_proj", width, mlp, c["mlp_bias"])
    norm("model.norm")
    if not c["tie_word_embeddings"]:
        s["lm_head.weight"] = (V, width)
    return s


def save(path, tensors, metadata):
    """Writes safetensors."""
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name, t in tensors.items():
        kind = "I32" if t.dtype == torch.int32 else "F32"
        blob = t.detach().contiguous().numpy().tobytes()
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


base = {
    "model_type": "mito", "vocab_size": V, "num_hidden_layers": L, "max_position_embeddings": T, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "sliding_window": 0, "qk_norm": False,
}
llama = base | {
    "hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
    "hidden_act": "swiglu", "norm_type": "rmsnorm", "position_embedding": "rope",
    "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False,
}
gpt2 = base | {
    "hidden_size": 20, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 5,
    "hidden_act": "gelu", "norm_type": "layernorm", "position_embedding": "learned",
    "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
}
for name, c in ("llama", llama), ("gpt2", gpt2):
    p = parameters(shapes(c))
    ids, targets = torch.randint(V, (B, T)), torch.randint(V, (B, T))
    weights = torch.randint(0, 3, (B, T)).double() / 2
    logits = forward(c, p, ids)
    loss = F.cross_entropy(logits.view(-1, V), targets.view(-1), reduction="none").view(B, T) * weights
    (loss.sum() / weights.sum()).backward()
    out = {k: v.float() for k, v in p.items()} | {"grad." + k: v.grad.float() for k, v in p.items()}
    out |= {"inputs": ids.int(), "targets": targets.int(), "weights": weights.float(), "logits": logits.float(), "loss": loss.float()}
    save(f"golden_{name}.safetensors", out, {"config": json.dumps(c), "torch": torch.__version__})

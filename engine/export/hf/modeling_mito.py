"""A transformer of mito's whose architecture transformers does not have: layers of unequal shape, per-layer embeddings,
or a sliding window where there is no gate. Loaded by AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class MitoConfig(PretrainedConfig):
    model_type = "mito"


class Norm(nn.Module):
    def __init__(self, width, config, layer=None):
        super().__init__()
        self.eps, layer = config.rms_norm_eps, config.norm_type == "layernorm" if layer is None else layer
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if layer else None

    def forward(self, x):
        if self.bias is not None:
            return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    def __init__(self, config, shape):
        super().__init__()
        d, width, bias = config.head_dim, config.hidden_size, config.attention_bias
        self.d, self.heads, self.groups = d, shape["num_attention_heads"], shape["num_key_value_heads"]
        self.window = shape["sliding_window"] or 0
        self.scale = shape.get("attention_scale") or 1 / math.sqrt(d)
        self.q_proj = nn.Linear(width, self.heads * d, bias=bias)
        self.k_proj = nn.Linear(width, self.groups * d, bias=bias)
        self.v_proj = nn.Linear(width, self.groups * d, bias=bias)
        self.o_proj = nn.Linear(self.heads * d, width, bias=bias)
        self.q_norm = Norm(d, config, layer=False) if config.qk_norm else None
        self.k_norm = Norm(d, config, layer=False) if config.qk_norm else None

    def forward(self, x, positions, padding, theta):
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, self.heads, self.d)
        k = self.k_proj(x).view(b, t, self.groups, self.d)
        v = self.v_proj(x).view(b, t, self.groups, self.d)
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if theta is not None:
            frequency = theta ** (-torch.arange(self.d // 2, device=x.device, dtype=torch.float64) * 2 / self.d)
            angle = (positions.double()[..., None] * frequency)[:, :, None]
            cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        i = torch.arange(t, device=x.device)
        seen = i[None, :] <= i[:, None]
        if self.window:
            seen = seen & (i[:, None] - i[None, :] < self.window)  # a window counts the token itself
        seen = seen[None, None]
        if padding is not None:
            seen = seen & padding[:, None, None, :].bool() | torch.eye(t, device=x.device, dtype=torch.bool)
        repeat = self.heads // self.groups
        q, k, v = (y.transpose(1, 2) for y in (q, k, v))
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=self.scale)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class MLP(nn.Module):
    def __init__(self, config, shape):
        super().__init__()
        width, hidden, bias = config.hidden_size, shape["intermediate_size"], config.mlp_bias
        self.act = config.hidden_act
        self.gate_proj = nn.Linear(width, hidden, bias=bias) if self.act == "swiglu" else None
        self.up_proj = nn.Linear(width, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, width, bias=bias)

    def forward(self, x):
        y = self.up_proj(x)
        if self.act == "swiglu":
            y = F.silu(self.gate_proj(x)) * y
        elif self.act == "gelu":
            y = F.gelu(y, approximate="tanh")
        else:
            y = F.relu(y)
            if self.act == "relu2":
                y = y.square()
        return self.down_proj(y)


class Layer(nn.Module):
    def __init__(self, config, shape):
        super().__init__()
        self.input_layernorm = Norm(config.hidden_size, config)
        self.self_attn = Attention(config, shape)
        self.post_attention_layernorm = Norm(config.hidden_size, config)
        self.mlp = MLP(config, shape)
        ple = getattr(config, "ple_dim", 0)
        self.per_layer_embed = nn.Embedding(config.vocab_size, ple) if ple else None
        self.per_layer_gate = nn.Linear(config.hidden_size, ple, bias=False) if ple else None
        self.per_layer_projection = nn.Linear(ple, config.hidden_size, bias=False) if ple else None

    def forward(self, x, ids, positions, padding, theta):
        x = x + self.self_attn(self.input_layernorm(x), positions, padding, theta)
        h = self.post_attention_layernorm(x)
        x = x + self.mlp(h)
        if self.per_layer_embed is not None:
            x = x + self.per_layer_projection(self.per_layer_gate(h) * self.per_layer_embed(ids))
        return x


class MitoModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        learned = config.position_embedding == "learned"
        keys = ("num_attention_heads", "num_key_value_heads", "intermediate_size", "sliding_window")
        alike = {key: getattr(config, key) for key in keys} | {"attention_scale": getattr(config, "attention_scale", None)}
        shapes = getattr(config, "layer_shapes", None) or [alike] * config.num_hidden_layers
        self.theta = None if learned else config.rope_theta
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size) if learned else None
        self.layers = nn.ModuleList(Layer(config, shape) for shape in shapes)
        self.norm = Norm(config.hidden_size, config)


class MitoForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = MitoConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = False
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    # A second head that was trained beside the first says nothing about the text.
    _keys_to_ignore_on_load_unexpected = [r"aux_head\."]

    def __init__(self, config):
        super().__init__(config)
        self.model = MitoModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        x = self.model.embed_tokens(input_ids)
        positions = torch.arange(input_ids.shape[1], device=x.device)[None].expand_as(input_ids)
        if attention_mask is not None:
            positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        if self.model.embed_positions is not None:
            x = x + self.model.embed_positions(positions)
        for layer in self.model.layers:
            x = layer(x, input_ids, positions, attention_mask, self.model.theta)
        logits = self.lm_head(self.model.norm(x))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return CausalLMOutput(loss=loss, logits=logits)

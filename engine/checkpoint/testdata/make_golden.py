"""Writes golden.safetensors with the reference implementation: python make_golden.py (needs torch and safetensors)."""
import pathlib

import torch
from safetensors.torch import save_file

values = [0.0, -0.0, 1.0, -2.5, 6.103515625e-05, 65504.0]
save_file(
    {
        "f32": torch.tensor(values, dtype=torch.float32).reshape(2, 3),
        "f16": torch.tensor(values, dtype=torch.float16).reshape(3, 2),
        "bf16": torch.tensor([0.0, 1.0, -2.5, 256.0], dtype=torch.bfloat16),
        "i8": torch.tensor([[-128, 127], [0, -1]], dtype=torch.int8),
        "u8": torch.tensor([0, 128, 255], dtype=torch.uint8),
        "i32": torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32),
        "i64": torch.tensor(-(2**63), dtype=torch.int64),
        "empty": torch.zeros((0, 4), dtype=torch.float32),
        "größe": torch.tensor([1, 2], dtype=torch.int8),
    },
    pathlib.Path(__file__).with_name("golden.safetensors"),
    metadata={"format": "pt"},
)

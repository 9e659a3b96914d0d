# Makes testdata/peft with PEFT 0.21, transformers 5.24 and torch 2.15: python make.py
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(1)
base = LlamaForCausalLM(LlamaConfig(
    vocab_size=11, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=32, tie_word_embeddings=False))
model = get_peft_model(base, LoraConfig(
    r=2, lora_alpha=6, target_modules=["q_proj", "up_proj"], layers_to_transform=[1], use_rslora=True, task_type="CAUSAL_LM"))
for name, p in model.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(p)
q = model.base_model.model.model.layers[1].self_attn.q_proj
print("delta of q_proj, row 3:", q.get_delta_weight("default")[3, :4].tolist())
model.save_pretrained("peft")

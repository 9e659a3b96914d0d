#!/usr/bin/env python3
"""Trains a small GPT-2 of transformers on a text, with a byte-level BPE of the tokenizers library: a teacher for mito.

    python3 bench/peers/gpt2_teacher.py --corpus book.txt --out gpt2-folder
    mito pipeline --teacher gpt2-folder --tokenizer chars --arch edge --corpus book.txt --out book

needs the packages of bench/peers/huggingface.txt. The last tenth of the text is left out, as mito leaves it out.
"""

import argparse
import time

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast


def byte_level_bpe(text, vocab):
    """A tokenizer of GPT-2's kind."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    tok.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=vocab, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"]))
    return tok


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--corpus", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--steps", type=int, default=600)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--context", type=int, default=128)
    p.add_argument("--width", type=int, default=128)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--vocab", type=int, default=512)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    with open(a.corpus, encoding="utf-8", newline="") as f:
        text = f.read()
    text = text[: len(text) * 9 // 10]
    tok = PreTrainedTokenizerFast(tokenizer_object=byte_level_bpe(text, a.vocab), eos_token="<|endoftext|>")
    ids = torch.tensor(tok(text)["input_ids"])
    end = tok.eos_token_id
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=len(tok), n_embd=a.width, n_layer=a.layers, n_head=a.width // 32, n_positions=a.context, bos_token_id=end, eos_token_id=end,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=a.steps, pct_start=0.1)
    began = time.time()
    for step in range(a.steps):
        rows = torch.stack([ids[i : i + a.context] for i in torch.randint(len(ids) - a.context, (a.batch,))])
        logits = model(rows).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step == a.steps - 1:
            print(f"step {step + 1}/{a.steps}: loss {loss.item():.3f}, {time.time() - began:.0f} s", flush=True)
    model.eval().save_pretrained(a.out)
    tok.save_pretrained(a.out)
    print(f"{a.out}: {sum(p.numel() for p in model.parameters())} parameters, {len(tok)} tokens")


if __name__ == "__main__":
    main()

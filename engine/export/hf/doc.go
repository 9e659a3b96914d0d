// Package hf maps mito's models to architectures that transformers has, and back: the keys of config.json and the names
// and layouts of tensors. It is the one place that knows them, for folders that mito writes and for those that it reads.
//
// [Contents] says what is written for a model. Where an architecture of transformers computes the same, the folder is one
// of it: arcee (ReLU², ReLU or GELU without a gate), apertus (the same with QK-norm), llama, qwen3 (with QK-norm, windows
// by layer), mistral (one window), gpt2 and gpt_neo (LayerNorm, learned positions), stablelm and starcoder2 (LayerNorm and
// RoPE, with a gate and without). What none of them can say keeps model_type mito, with the model's code beside it for
// trust_remote_code; [Why] tells the reason.
//
// [Read] gives the configuration and the weights under mito's names of a folder of any of these, whoever wrote it, in
// the spellings of transformers 4 and 5. What mito would compute otherwise than its author (a scaled RoPE, GELU by erf,
// another architecture) is refused with the key and what is supported.
//
// What a key of transformers cannot say but mito needs to give the same bits back (that biases of zeros are none, say)
// stands under the key "mito", which other programs pass over.
//
// Of mito the package imports engine/arch, engine/checkpoint, engine/files and engine/tokenizer.
package hf

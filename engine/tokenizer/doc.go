// Package tokenizer turns text into token ids and back.
//
// There are two tokenizers. [Chars] gives every code point of its alphabet one
// id; a character outside the alphabet is a typed error, never a silent
// substitute. [BPE] is byte-level byte-pair encoding (Sennrich et al.,
// arXiv:1508.07909, on bytes as in GPT-2), so that it encodes every UTF-8
// text. Both are immutable once made and safe for concurrent use.
//
// Both are saved as a Hugging Face tokenizer.json, and the tokenizers library
// encodes with that file to the same ids; testdata/make_golden.py made the
// fixture that the tests compare with. A character tokenizer is stored as a
// WordLevel model behind a pre-tokenizer that isolates every code point, with
// an unknown token that is not in the vocabulary: the library then refuses an
// unknown character too. A byte-level BPE is stored as GPT-2's is.
//
// [Load] and [Parse] read back what this package writes, and the BPE files of
// other programs as long as every setting in them that changes
// the ids is one that is implemented here; testdata/make_kinds.py made the
// fixture with those of Llama, Qwen, GPT-4 and Mistral. Anything else is an
// [UnsupportedError] naming the field, since ids that are nearly right train a
// model on the wrong text.
//
// Decode(Encode(s)) == s for every s that Encode accepts, of the tokenizers that
// are made here; those of other programs may normalize. Added tokens, such
// as "<|endoftext|>", are recognised inside text as Hugging Face does, and
// decode to their own spelling.
//
// [Tokenizer.Hash] identifies a tokenizer: two tokenizers with the same hash
// give the same ids for every text. Models that share logits (teacher and
// student, draft and target) must agree on it.
//
// Of mito it imports engine/files only, and golang.org/x/text for Unicode forms. A test holds it to that.
package tokenizer

"""Makes golden.json: what Hugging Face's tokenizers library says.

    go test ./engine/tokenizer -run TestCanonicalFiles -update   # chars.json, bpe.json
    pip install tokenizers==0.23.3
    python3 engine/tokenizer/testdata/make_golden.py

It loads the files that the Go package wrote, and encodes and decodes the cases
with them. It also trains a BPE of the same size on the same text, and fails
unless vocabulary and merges are the same.
"""

import json
import pathlib

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

here = pathlib.Path(__file__).parent
sample = (here / "sample.txt").read_text(encoding="utf-8")
EOT = "<|endoftext|>"

chars = Tokenizer.from_file(str(here / "chars.json"))
bpe = Tokenizer.from_file(str(here / "bpe.json"))

# The trainer, to which the Go trainer must agree.
ours = json.loads(bpe.to_str())["model"]
hf = Tokenizer(models.BPE())
hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
hf.decoder = decoders.ByteLevel()
hf.train_from_iterator(
    [sample],
    trainers.BpeTrainer(
        vocab_size=bpe.get_vocab_size() - 1,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    ),
)
hf.add_special_tokens([EOT])
theirs = json.loads(hf.to_str())["model"]
assert ours["merges"] == theirs["merges"], "merges differ"
assert {k: v for k, v in ours["vocab"].items() if k != EOT} == theirs["vocab"], "vocabularies differ"

# A file as the library itself writes it, with digits isolated, two kinds of
# added tokens, and merges ignored for whole words.
other = Tokenizer(models.BPE(ignore_merges=True))
other.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
other.decoder = decoders.ByteLevel()
other.train_from_iterator(
    [sample],
    trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    ),
)
other.add_special_tokens(["<|im_start|>", "<|im_start|>x"])
other.add_tokens(["Citizen:", "zen:<s>"])
other.save(str(here / "hf-digits.json"))
other = Tokenizer.from_file(str(here / "hf-digits.json"))

# BPE of characters as SentencePiece makes it and Llama has it, in the layout that transformers writes.
sentence = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
sentence.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
sentence.decoder = decoders.Sequence(
    [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
)
sentence.train_from_iterator(
    sample.splitlines(),
    trainers.BpeTrainer(vocab_size=420, show_progress=False, special_tokens=[f"<0x{b:02X}>" for b in range(256)]),
)
sentence.add_special_tokens(["<unk>", "<s>", "</s>"])
sentence.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
made = json.loads(sentence.to_str())  # in files of Llama the bytes are no added tokens
made["added_tokens"] = [t for t in made["added_tokens"] if not t["content"].startswith("<0x")]
(here / "sentence.json").write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
sentence = Tokenizer.from_file(str(here / "sentence.json"))

bpe_cases = [
    "",
    " ",
    "\n",
    "   ",
    "hello world",
    "  leading and trailing  ",
    "tabs\t\tand\r\nlines\n\n\n  x",
    "don't we'll they've I'm she'd you're it's 'S 'tis ''ll 're",
    "12345 007 3.14159 x1y22z",
    "Größe naïve Ångström čeština ελληνικά русский 日本語のテキスト 한국어 עברית العربية",
    "½ ⅷ ² ⁴ ☃ 👩‍👩‍👧 🇦🇶 ﬁ é",
    "\u00a0\u2003x\u3000 \u200by\u0085z\u180e",
    "\x00\x01\x7f\ufeff\uffff\U0010ffff",
    f"a{EOT}b {EOT} {EOT}{EOT}",
    "<s>First Citizen: citizen:<s><|im_start|>x<|im_start|>y</s>zen:<s>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 5,
    "the the thethethe  the\nthe",
    sample,
]
chars_cases = ["", "First Citizen:\n", "\n\n  speak", f"a{EOT}b{EOT}", "日本語の", "👩‍👩‍👧", sample]


def cases(tok, texts):
    return [{"text": t, "ids": tok.encode(t, add_special_tokens=False).ids} for t in texts]


def decodes(tok, lists):
    return [{"ids": ids, "text": tok.decode(ids, skip_special_tokens=False)} for ids in lists]


def raw(tok, data):
    """The ids of single bytes, for decoding what is not UTF-8."""
    spell = {}
    printable = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    extra = 256
    for b in range(256):
        if b in printable:
            spell[b] = chr(b)
        else:
            spell[b] = chr(extra)
            extra += 1
    return [tok.token_to_id(spell[b]) for b in data]


broken = [
    b"\xff", b"a\x80b", b"\xe4\xb8", b"\xe4\xb8x", b"\xf0\x9f\x98", b"\xf0\x9f", b"\xf0", b"\xf0\x9f\x98\x80\xf0\x9f\x98",
    b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\xf5\x80", b"\xf0\x80\x80\x80", b"\xc3\xc3\xa9",
]  # fmt: skip

try:
    chars.encode("\u0416 is not in the alphabet")
    raise SystemExit("an unknown character must be refused")
except Exception as e:
    assert "WordLevel" in str(e), e

golden = {
    "chars": {"encode": cases(chars, chars_cases), "decode": decodes(chars, [[1, 0, 2], [chars.get_vocab_size() - 1]])},
    "bpe": {"encode": cases(bpe, bpe_cases), "decode": decodes(bpe, [raw(bpe, b) for b in broken])},
    "hf-digits": {"encode": cases(other, bpe_cases), "decode": decodes(other, [[0, 300, 1]])},
    "sentence": {
        "encode": cases(sentence, bpe_cases),
        "decode": decodes(
            sentence,
            [[sentence.token_to_id(f"<0x{x:02X}>") for x in b] for b in broken]
            + [sentence.encode(t, add_special_tokens=False).ids for t in bpe_cases],
        ),
    },
}
(here / "golden.json").write_text(json.dumps(golden, ensure_ascii=True, indent=1) + "\n")

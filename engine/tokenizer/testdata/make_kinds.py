"""Makes kinds.json: tokenizers of the kinds that other models have, and what Hugging Face's tokenizers library says.

    pip install tokenizers==0.23.3
    python3 engine/tokenizer/testdata/make_kinds.py

All byte-level ones share one model, whose merges were learnt on uncut text, so that a cut in another place gives other ids.
"""

import json
import pathlib
import random

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

here = pathlib.Path(__file__).parent
sample = (here / "sample.txt").read_text(encoding="utf-8")

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = TEKKEN.replace(r"\p{M}]+|[^", r"\p{M}]+" + CONTRACTION + "|[^").replace(r"\p{M}]*|\p{N}", r"\p{M}]*" + CONTRACTION + r"|\p{N}{1,3}")
DEEPSEEK = [
    r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]  # fmt: skip
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def cut(*patterns, behavior="Isolated", invert=False):
    split = [{"type": "Split", "pattern": {"Regex": p}, "behavior": behavior, "invert": invert} for p in patterns]
    return {"type": "Sequence", "pretokenizers": split + [BYTES]}


def template(before, after=()):
    def special(name):
        return {"SpecialToken": {"id": name, "type_id": 0}}

    names = {t["content"]: t["id"] for t in ADDED}
    single = [*map(special, before), {"Sequence": {"id": "A", "type_id": 0}}, *map(special, after)]
    return {
        "type": "TemplateProcessing", "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {n: {"id": n, "ids": [names[n]], "tokens": [n]} for n in {*before, *after}},
    }  # fmt: skip


def added(i, content, **more):
    return {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **more}


bpe = Tokenizer(models.BPE())
bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
hard = "I'LL don'T WE'Ve it's CamelCaseWords HTTPServer 1234567 //x/\r\n\r\n  \n\t x foo.bar()  ...\n\n 日本語テキスト e\u0301 é ﬁ ǅab ʼn ſ 'ſ a'S"
bpe.train_from_iterator([sample, *[hard] * 3], trainers.BpeTrainer(vocab_size=600, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
BPE = json.loads(bpe.to_str())["model"]
N = len(BPE["vocab"])
ADDED = [
    added(N, "<|begin|>"), added(N + 1, "<|end|>"), added(N + 2, "<|user|>", rstrip=True), added(N + 3, "<mask>", lstrip=True),
    added(N + 4, "word", special=False, normalized=True, single_word=True), added(N + 5, "a\u0306\u0301x", special=False, normalized=True), added(N + 6, "\n", special=False),
]  # fmt: skip

sentence = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
sentence.train_from_iterator(
    [(line + " ").replace(" ", "▁") for line in [*sample.splitlines(), *hard.splitlines()]],
    trainers.BpeTrainer(vocab_size=520, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]),
)
SENTENCE = json.loads(sentence.to_str())["model"]


def metaspace(scheme, split):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


KINDS = {
    "llama3": dict(pre=cut(LLAMA3), post={"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False,
                   "use_regex": True}, template(["<|begin|>"])]}, ignore_merges=True),
    "qwen": dict(pre=cut(QWEN), norm={"type": "NFC"}),
    "cl100k": dict(pre=cut(LLAMA3, behavior="Removed", invert=True)),
    "o200k": dict(pre=cut(O200K), post=template(["<|begin|>"], ["<|end|>"])),
    "tekken": dict(pre=cut(TEKKEN), ignore_merges=True),
    "deepseek": dict(pre=cut(*DEEPSEEK), norm={"type": "Sequence", "normalizers": []}),
    "gpt2 by Split": dict(pre=cut(GPT2)),
    "numbers": dict(pre={"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, BYTES]}, norm={"type": "NFKC"}),
}
S_ADDED = [added(i, s) for i, s in enumerate(["<unk>", "<s>", "</s>"])]
S_KINDS = {f"metaspace {scheme} {split}": dict(pre=metaspace(scheme, split)) for scheme in ("always", "first", "never") for split in (True, False)}


def build(kind, model, tokens, sentencepiece=False):
    steps = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if sentencepiece and "never" not in str(kind):
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": kind.get("norm"), "pre_tokenizer": kind["pre"],
        "post_processor": kind.get("post"), "decoder": {"type": "Sequence", "decoders": steps} if sentencepiece else {**BYTES, "use_regex": True},
        "model": {**model, "ignore_merges": kind.get("ignore_merges", False)},
    }  # fmt: skip


TEXTS = [
    "", " ", "\n", "   ", "hello world", "  leading and trailing  ", "tabs\t\tand\r\nlines\n\n\n  x", "don't we'll THEY'VE I'm she'D you're it's 'S 'tis ''ll 'RE",
    "12345 007 3.14159 x1y22z ½ⅷ²", "Größe naïve Ångström čeština ελληνικά русский 日本語のテキスト 한국어 עברית العربية", "☃ 👩‍👩‍👧 🇦🇶 ﬁ é e\u0301 a\u0306\u0301x \u1eafx",
    "\u00a0\u2003x\u3000 \u200by\u0085z\u180e", "\x00\x01\x7f\ufeff\uffff\U0010ffff", "a<|begin|>b <|end|> <|end|><|end|>", "x <|user|>  \n y<mask> \t<mask>z  <mask>",
    "word words aword word_ word-word (word)", "CamelCaseWords HTTPServer ABCdef ǅab Ǆ", "foo_bar(baz) != {x: [1,2]}; //\n\n/", "▁a▁▁b", "<s> a</s>  b<s>", hard, sample[:300],
]  # fmt: skip
pool = list("aZé 's'T\n\r\t 1٣²-/._{日ひ한ʰ\u0301\u200d\u00a0🙂ß▁'") + ["  ", "'LL", "<mask>", "<|user|>", "word", "ǅ", "a\u0306\u0301x", "\u1100\u1161"]
rng = random.Random(11)
TEXTS += ["".join(rng.choices(pool, k=rng.randint(2, 24))) for _ in range(100)]


def golden(kind, model, tokens, sp=False):
    tok = Tokenizer.from_str(json.dumps(build(kind, model, tokens, sp)))
    out = []
    for t in TEXTS:
        ids = tok.encode(t, add_special_tokens=False).ids
        back = tok.decode(ids, skip_special_tokens=False)
        out.append({"ids": ids} if back == t else {"ids": ids, "text": back})
    return out


def write():
    made = {
        "texts": TEXTS, "bpe": BPE, "bpe_added": ADDED, "sentence": SENTENCE, "sentence_added": S_ADDED,
        "kinds": {n: build(k, {}, []) | {"model": {"ignore_merges": k.get("ignore_merges", False)}} for n, k in KINDS.items()},
        "sentence_kinds": {n: build(k, {}, [], True) | {"model": {}} for n, k in S_KINDS.items()},
        "golden": {n: golden(k, BPE, ADDED) for n, k in KINDS.items()} | {n: golden(k, SENTENCE, S_ADDED, True) for n, k in S_KINDS.items()},
    }  # fmt: skip
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    (here / "kinds.json").write_text(text.replace("},{", "},\n{") + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()

package gguf

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mito/engine/export/shape"
	"mito/engine/files"
	"mito/engine/tokenizer"
)

// Types of tokens.
const (
	tokenNormal  = 1
	tokenControl = 3 // special: recognised, and not printed
	tokenUser    = 4 // added, and printed
	tokenUnused  = 5
)

// jsonKey holds a whole tokenizer.json. It is written where the other keys do not say all: for characters, which the kind
// "gpt2" does not tell from a BPE, and for tokenizers that bring a text into a Unicode form first.
const jsonKey = "tokenizer.huggingface.json"

// pres names llama.cpp's ways of cutting a text that mito has: GPT-2's pattern, and each digit alone before it.
var pres = map[string]bool{ // whether digits stand alone
	"gpt-2": false, "mpt": false, "olmo": false, "jais": false, "trillion": false, "granite-docling": false, "phi-2": false, "roberta-bpe": false,
	"smollm": true, "starcoder": true, "refact": true, "command-r": true, "codeshell": true, "exaone": true, "minerva-7b": true,
}

// tokenizerFile is what of a canonical tokenizer.json is needed here.
type tokenizerFile struct {
	Added []struct {
		ID      int    `json:"id"`
		Content string `json:"content"`
		Special bool   `json:"special"`
	} `json:"added_tokens"`
	Normalizer struct {
		Type string `json:"type"`
	} `json:"normalizer"`
	Pre struct {
		step
		Steps []step `json:"pretokenizers"`
	} `json:"pre_tokenizer"`
	Model struct {
		Type         string         `json:"type"`
		IgnoreMerges bool           `json:"ignore_merges"`
		Vocab        map[string]int `json:"vocab"`
		Merges       []string       `json:"merges"`
	} `json:"model"`
}

// step is one of a pre-tokenizer's.
type step struct {
	Type    string `json:"type"`
	Words   bool   `json:"use_regex"`
	Alone   bool   `json:"individual_digits"`
	Pattern struct {
		Regex string `json:"Regex"`
	} `json:"pattern"`
}

// ignoring are llama.cpp's ways of cutting that pass over merges where a word is a token.
var ignoring = map[string]bool{"llama-bpe": true, "tekken": true}

// pre names llama.cpp's way of cutting a text as the tokenizer does, "" where there is none.
func (f *tokenizerFile) pre() string {
	steps := f.Pre.Steps
	if f.Pre.Type != "Sequence" {
		steps = []step{f.Pre.step}
	}
	last := steps[len(steps)-1]
	name := ""
	switch {
	case len(steps) == 1 && last.Words:
		name = "gpt-2"
	case len(steps) == 2 && steps[0].Type == "Digits" && steps[0].Alone && last.Words:
		name = "smollm"
	case len(steps) == 2 && steps[0].Type == "Split" && !last.Words:
		for n, pattern := range tokenizer.Patterns {
			if pattern == steps[0].Pattern.Regex {
				name = n
			}
		}
	}
	if f.Model.IgnoreMerges != ignoring[name] {
		return ""
	}
	return name
}

// tokenizerPairs is the metadata of a tokenizer, for a model of vocab ids. Ids that the tokenizer lacks are unused tokens.
// Errors: *shape.Error.
func tokenizerPairs(tok tokenizer.Tokenizer, vocab int) ([]pair, error) {
	if tok == nil {
		return []pair{{"tokenizer.ggml.model", "no_vocab"}}, nil
	}
	text, f, err := canonical(tok)
	if err != nil {
		return nil, err
	}
	if tok.VocabSize() > vocab {
		return nil, shape.Errorf(name, "the tokenizer has %d tokens and the model %d", tok.VocabSize(), vocab)
	}
	tokens, types := make([]string, vocab), make([]int32, vocab)
	for i := range tokens {
		tokens[i], types[i] = fmt.Sprintf("[PAD%d]", i), tokenUnused
	}
	chars := f.Model.Type == "WordLevel"
	merges := map[string]bool{}
	for s, id := range f.Model.Vocab {
		tokens[id], types[id] = s, tokenNormal
		if chars {
			tokens[id] = byteChars(s)
		}
	}
	for _, a := range f.Added {
		tokens[a.ID], types[a.ID] = a.Content, tokenUser
		if a.Special {
			types[a.ID] = tokenControl
		}
	}
	if tok.EOS() < 0 && singleBytes(tok) {
		for id := range tokens {
			if types[id] == tokenNormal {
				raw, err := tok.AppendToken(nil, int32(id))
				if err != nil {
					return nil, err
				}
				tokens[id] = strings.ReplaceAll(string(raw), `\`, `\\`)
			}
		}
		return []pair{
			{"tokenizer.ggml.model", "rwkv"}, {"tokenizer.ggml.tokens", tokens}, {"tokenizer.ggml.token_type", types},
			{"tokenizer.ggml.add_bos_token", false}, {"tokenizer.ggml.add_eos_token", false}, {"tokenizer.ggml.add_space_prefix", false}, {jsonKey, string(text)},
		}, nil
	}
	pre, list := "gpt-2", f.Model.Merges
	if chars {
		for id, s := range tokens {
			if types[id] == tokenNormal {
				for _, m := range joins(s) {
					merges[m] = true
				}
			}
		}
		list = slices.SortedFunc(maps.Keys(merges), func(a, b string) int { // shorter ones first: they are parts of the others
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			return strings.Compare(a, b)
		})
	} else {
		if pre = f.pre(); pre == "" {
			return nil, &shape.Error{Format: name, What: "llama.cpp has no tokenizer of this kind: it cuts words by another pattern, or passes over merges",
				Do: "--no-tokenizer writes the model without it"}
		}
	}
	before, after := tok.Template()
	if len(before) > 1 || len(after) > 1 {
		return nil, &shape.Error{Format: name, What: "llama.cpp puts one token before a text and one after it, and the tokenizer's template has more",
			Do: "--no-tokenizer writes the model without it"}
	}
	out := []pair{
		{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", pre}, {"tokenizer.ggml.tokens", tokens}, {"tokenizer.ggml.token_type", types},
		{"tokenizer.ggml.merges", list}, {"tokenizer.ggml.add_bos_token", len(before) > 0}, {"tokenizer.ggml.add_eos_token", len(after) > 0}, {"tokenizer.ggml.add_space_prefix", false},
	}
	eos := tok.EOS()
	for _, id := range after {
		eos = id
	}
	ids := map[string]int32{"bos": eos, "eos": eos, "padding": eos} // without these llama.cpp takes token 11 for both
	for _, id := range before {
		ids["bos"] = id
	}
	for _, key := range []string{"bos", "eos", "padding"} {
		if ids[key] >= 0 {
			out = append(out, pair{"tokenizer.ggml." + key + "_token_id", uint32(ids[key])})
		}
	}
	if chars || f.Normalizer.Type != "" {
		out = append(out, pair{jsonKey, string(text)})
	}
	return out, nil
}

// canonical is the tokenizer's own file, and what of it is needed here.
func canonical(tok tokenizer.Tokenizer) ([]byte, *tokenizerFile, error) {
	text, err := tok.MarshalJSON()
	if err != nil {
		return nil, nil, err
	}
	var f tokenizerFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, nil, fmt.Errorf("%s: tokenizer.json: %w", name, err)
	}
	return text, &f, nil
}

// looser are the patterns that llama.cpp has in a simpler form than the models that it names them for: it tells capital
// letters from small ones in A to Z only, and marks are no part of a word.
var looser = map[string]bool{"gpt-4o": true, "tekken": true}

// Notes say, for people, where llama.cpp treats texts otherwise than the tokenizer of a file that [Write] can write.
func Notes(tok tokenizer.Tokenizer) ([]string, error) {
	if tok == nil {
		return nil, nil
	}
	_, f, err := canonical(tok)
	if err != nil {
		return nil, err
	}
	var out []string
	if EndsEarly(tok) {
		out = append(out, "the tokenizer has no token that ends a text, and llama.cpp then takes token 11 for it: run it with --ignore-eos")
	}
	if form := f.Normalizer.Type; form != "" {
		out = append(out, "the tokenizer brings texts into "+form+", which llama.cpp does not do: give it texts in that form")
	}
	if f.Model.Type == "BPE" && looser[f.pre()] {
		out = append(out, "llama.cpp cuts words of this kind by A to Z and a to z: texts with other capital letters or combining marks can have other tokens there")
	}
	return out, nil
}

// EndsEarly says that llama.cpp takes a common token of the tokenizer for the end of a text, because it has no other.
func EndsEarly(tok tokenizer.Tokenizer) bool {
	return tok != nil && tok.EOS() < 0 && tok.VocabSize() > defaultEnd && !singleBytes(tok)
}

// singleBytes says that the tokenizer is one of characters that are each one byte. Of longer ones llama.cpp's "rwkv" does
// not come to an end where a text has a character that begins as one of them and is none.
func singleBytes(tok tokenizer.Tokenizer) bool {
	if _, chars := tok.(*tokenizer.Chars); !chars {
		return false
	}
	for id := range tok.VocabSize() {
		if text, err := tok.AppendToken(nil, int32(id)); err != nil || len(text) != 1 {
			return false
		}
	}
	return true
}

// defaultEnd is the token that ends a text where a file with the tokenizer model "gpt2" does not say.
const defaultEnd = 11

// joins are the merges that make one token of the bytes of a character: a first pair, and one byte more each time.
func joins(s string) []string {
	r := []rune(s)
	var out []string
	for i := 1; i < len(r); i++ {
		out = append(out, string(r[:i])+" "+string(r[i]))
	}
	return out
}

// byteChars spells the bytes of a text as GPT-2 does: those that are printable in Latin-1 stand for themselves, the others
// take the code points from 256 on.
func byteChars(s string) string {
	var out []rune
	for _, b := range []byte(s) {
		out = append(out, byteAlphabet[b])
	}
	return string(out)
}

var byteAlphabet = func() (a [256]rune) {
	next := rune(256)
	for b := range 256 {
		if b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE {
			a[b] = rune(b)
			continue
		}
		a[b] = next
		next++
	}
	return a
}()

// readTokenizer makes the tokenizer of a file, nil where it has none. Errors: *TokenizerError.
func readTokenizer(f *file, vocab int) (tokenizer.Tokenizer, error) {
	kind, _ := f.pairs["tokenizer.ggml.model"].(string)
	if kind == "" || kind == "no_vocab" || kind == "none" {
		return nil, nil
	}
	text, err := tokenizerJSON(f, kind)
	if err != nil {
		return nil, &TokenizerError{err}
	}
	tok, err := tokenizer.Parse(text)
	if err != nil {
		return nil, &TokenizerError{err}
	}
	if tok.VocabSize() > vocab {
		return nil, &TokenizerError{fmt.Errorf("it has %d tokens and the model %d", tok.VocabSize(), vocab)}
	}
	return tok, nil
}

// tokenizerJSON is the tokenizer.json of the metadata.
func tokenizerJSON(f *file, kind string) ([]byte, error) {
	if text, ok := f.pairs[jsonKey].(string); ok {
		return []byte(text), nil
	}
	if kind != "gpt2" {
		return nil, fmt.Errorf("tokenizer.ggml.model is %q, and mito reads \"gpt2\", byte-level BPE; "+
			"import the Hugging Face folder that the file was made of, or take --no-tokenizer for the weights alone", kind)
	}
	pre, _ := f.pairs["tokenizer.ggml.pre"].(string)
	digits, known := pres[pre]
	if alias := aliases[pre]; alias != "" {
		pre = alias
	}
	pattern := tokenizer.Patterns[pre]
	if !known && pattern == "" {
		return nil, fmt.Errorf("tokenizer.ggml.pre is %q, and mito cuts texts as %s do; take --no-tokenizer for the weights alone",
			pre, strings.Join(slices.Sorted(maps.Keys(pres)), ", ")+", "+strings.Join(slices.Sorted(maps.Keys(tokenizer.Patterns)), ", "))
	}
	tokens, err := texts(f, "tokenizer.ggml.tokens")
	if err != nil {
		return nil, err
	}
	merges, err := texts(f, "tokenizer.ggml.merges")
	if err != nil {
		return nil, err
	}
	types, _ := f.pairs["tokenizer.ggml.token_type"].([]any)
	// Unused tokens at the end are no tokens, only rows of the embedding.
	typeOf := func(id int) int64 {
		if id < len(types) {
			n, _ := types[id].(int64)
			return n
		}
		return tokenNormal
	}
	for len(tokens) > 0 && typeOf(len(tokens)-1) == tokenUnused {
		tokens = tokens[:len(tokens)-1]
	}
	type object = map[string]any
	vocab, added := object{}, []any{}
	for id, s := range tokens {
		if _, twice := vocab[s]; twice {
			return nil, files.Errorf(files.ErrDuplicate, "tokenizer.ggml.tokens", "%.80q", s)
		}
		vocab[s] = id
		if t := typeOf(id); t != tokenNormal {
			added = append(added, object{"id": id, "content": s, "special": t == tokenControl, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
		}
	}
	bytes := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	var cut any = bytes
	if digits {
		cut = object{"type": "Sequence", "pretokenizers": []any{object{"type": "Digits", "individual_digits": true}, bytes}}
	}
	if pattern != "" {
		raw := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
		split := object{"type": "Split", "pattern": object{"Regex": pattern}, "behavior": "Isolated", "invert": false}
		cut = object{"type": "Sequence", "pretokenizers": []any{split, raw}}
	}
	return json.Marshal(object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil, "pre_tokenizer": cut, "post_processor": around(f, tokens, ignoring[pre]),
		"decoder": bytes, "model": object{"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": ignoring[pre]},
	})
}

// aliases are other names of llama.cpp for one way of cutting.
var aliases = map[string]string{"llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2", "smaug-bpe": "llama-bpe"}

// around is the template of the tokens that the file has put round a text, nil for none. begins says that texts of its kind have
// one before them where the file is silent, as Llama 3 has in llama.cpp.
func around(f *file, tokens []string, begins bool) any {
	type object = map[string]any
	special, single := object{}, []any{object{"Sequence": object{"id": "A", "type_id": 0}}}
	for _, end := range []string{"bos", "eos"} {
		on, said := f.pairs["tokenizer.ggml.add_"+end+"_token"].(bool)
		if !on && (said || end == "eos" || !begins) {
			continue
		}
		id, ok := f.pairs["tokenizer.ggml."+end+"_token_id"].(int64)
		if !ok || id < 0 || id >= int64(len(tokens)) {
			continue
		}
		name := tokens[id]
		special[name] = object{"id": name, "ids": []int64{id}, "tokens": []string{name}}
		piece := object{"SpecialToken": object{"id": name, "type_id": 0}}
		if end == "bos" {
			single = append([]any{piece}, single...)
		} else {
			single = append(single, piece)
		}
	}
	if len(special) == 0 {
		return nil
	}
	return object{"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special}
}

// texts is a list of strings of the metadata.
func texts(f *file, key string) ([]string, error) {
	list, ok := f.pairs[key].([]any)
	if !ok && f.pairs[key] != nil || !ok && key == "tokenizer.ggml.tokens" {
		return nil, errors.New(key + " is not a list of strings")
	}
	out := make([]string, 0, len(list))
	for _, x := range list {
		s, ok := x.(string)
		if !ok {
			return nil, errors.New(key + " is not a list of strings")
		}
		out = append(out, s)
	}
	return out, nil
}

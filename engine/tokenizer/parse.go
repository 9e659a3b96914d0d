package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Parse reads the contents of a tokenizer.json: a character tokenizer as this
// package writes it; a byte-level BPE as GPT-2, Llama 3, Qwen, GPT-4 and Mistral's
// tekken have it, whose text may be brought into a Unicode form and is cut by
// patterns of Split, by digits, by GPT-2's pattern, or not at all; or the BPE of
// characters with byte fallback of Llama 1 and 2, see [Sentence]. It fails
// with *FormatError where the file is malformed or contradicts itself, and with
// *UnsupportedError where it asks for something else. Post-processors that only
// move offsets are dropped; what a template adds is in [Tokenizer.Template].
func Parse(data []byte) (Tokenizer, error) {
	if len(data) > MaxFileBytes {
		return nil, &FormatError{Reason: fmt.Sprintf("larger than %d bytes", MaxFileBytes)}
	}
	if !utf8.Valid(data) {
		return nil, &FormatError{Reason: "not UTF-8"}
	}
	if !json.Valid(data) {
		var v any
		return nil, &FormatError{Reason: fmt.Sprintf("not JSON: %v", json.Unmarshal(data, &v))}
	}
	top, err := object(data, "")
	if err != nil {
		return nil, err
	}
	if err := top.only("version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
		"decoder", "model"); err != nil {
		return nil, err
	}
	for _, key := range []string{"truncation", "padding"} {
		if !top.null(key) {
			return nil, &UnsupportedError{key, string(top.raw[key]), "null"}
		}
	}
	if v := top.raw["version"]; v != nil && string(v) != `"1.0"` {
		return nil, &UnsupportedError{"version", string(v), `"1.0"`}
	}
	model, err := top.object("model")
	if err != nil {
		return nil, err
	}
	added, err := parseAdded(top)
	if err != nil {
		return nil, err
	}
	kind := "BPE" // early files do not say
	if model.has("type") {
		if kind, err = model.str("type"); err != nil {
			return nil, err
		}
	}
	var t Tokenizer
	switch {
	case kind == "BPE" && isSentence(top):
		t, err = parseSentence(top, model, added)
	case kind == "WordLevel" && !top.null("normalizer"):
		err = &UnsupportedError{"normalizer", string(top.raw["normalizer"]), "null beside a model that is not BPE"}
	case kind == "BPE":
		t, err = parseBPE(top, model, added)
	case kind == "WordLevel":
		t, err = parseChars(top, model, added)
	default:
		err = &UnsupportedError{"model.type", strconv.Quote(kind), `"BPE" (of bytes as GPT-2's, or of characters as Llama's) or "WordLevel" (characters)`}
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

func parseAdded(top fields) (addedTokens, error) {
	if top.null("added_tokens") {
		return nil, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(top.raw["added_tokens"], &list); err != nil {
		return nil, &FormatError{"added_tokens", "not a list"}
	}
	added := make(addedTokens, 0, len(list))
	contents, ids := map[string]bool{}, map[int32]bool{}
	for i, raw := range list {
		f, err := object(raw, fmt.Sprintf("added_tokens[%d]", i))
		if err != nil {
			return nil, err
		}
		if err := f.only("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"); err != nil {
			return nil, err
		}
		var t addedToken
		for key, flag := range map[string]*bool{"single_word": &t.singleWord, "lstrip": &t.lstrip, "rstrip": &t.rstrip} {
			if *flag, err = f.boolean(key, false); err != nil {
				return nil, err
			}
		}
		if t.id, err = f.id("id"); err != nil {
			return nil, err
		}
		if t.content, err = f.str("content"); err != nil {
			return nil, err
		}
		if t.special, err = f.boolean("special", false); err != nil {
			return nil, err
		}
		if t.late, err = f.boolean("normalized", !t.special); err != nil {
			return nil, err
		}
		if t.content == "" || contents[t.content] || ids[t.id] {
			return nil, &FormatError{f.where, fmt.Sprintf("token %q with id %d is empty or given twice", clip(t.content), t.id)}
		}
		contents[t.content], ids[t.id] = true, true
		added = append(added, t)
	}
	slices.SortFunc(added, func(a, b addedToken) int { return cmp.Compare(a.id, b.id) })
	return added, nil
}

// vocabulary reads model.vocab together with the added tokens. It returns the
// spelling of every id in the file, the ids of the spellings, and own, which
// says which ids are not added tokens.
func vocabulary(model fields, added addedTokens) (spelling []string, ids map[string]int32, own []bool, err error) {
	vocab, err := model.object("vocab")
	if err != nil {
		return nil, nil, nil, err
	}
	ids = make(map[string]int32, len(vocab.raw)+len(added))
	for token := range vocab.raw {
		if ids[token], err = vocab.id(token); err != nil {
			return nil, nil, nil, err
		}
	}
	n := int32(len(ids))
	for _, t := range added {
		id, inVocab := ids[t.content]
		if !inVocab {
			// Hugging Face gives such tokens the next free ids, whatever the file says.
			id, n = n, n+1
			ids[t.content] = id
		}
		if id != t.id {
			return nil, nil, nil, &FormatError{"added_tokens", fmt.Sprintf("token %q has id %d where %d is due", clip(t.content), t.id, id)}
		}
	}
	spelling, own = make([]string, len(ids)), make([]bool, len(ids))
	seen := make([]bool, len(ids))
	for token, id := range ids {
		if int(id) >= len(ids) || seen[id] {
			return nil, nil, nil, &FormatError{"model.vocab", fmt.Sprintf(
				"id %d of token %q is taken twice or leaves a gap: %d tokens need the ids 0 to %d", id, clip(token), len(ids), len(ids)-1)}
		}
		seen[id], own[id], spelling[id] = true, true, token
	}
	for _, t := range added {
		own[t.id] = false
	}
	return spelling, ids, own, nil
}

func parseChars(top, model fields, added addedTokens) (Tokenizer, error) {
	if err := model.only("type", "vocab", "unk_token"); err != nil {
		return nil, err
	}
	if err := top.wantExact("pre_tokenizer", charsPreTokenizer); err != nil {
		return nil, err
	}
	if err := top.wantExact("decoder", charsDecoder); err != nil {
		return nil, err
	}
	spelling, ids, own, err := vocabulary(model, added)
	if err != nil {
		return nil, err
	}
	unk, err := model.str("unk_token")
	if err != nil {
		return nil, err
	}
	if _, used := ids[unk]; used {
		return nil, &UnsupportedError{"model.unk_token", strconv.Quote(unk) + " in the vocabulary",
			"one outside it, so that unknown characters are errors"}
	}
	around, err := parseTemplate(top, spelling)
	if err != nil {
		return nil, err
	}
	chars := 0
	for id, s := range spelling {
		if !own[id] {
			continue
		}
		if utf8.RuneCountInString(s) != 1 {
			return nil, &UnsupportedError{"model.vocab", strconv.Quote(s), "single characters, and added tokens"}
		}
		chars++
	}
	if chars == 0 {
		return nil, &FormatError{"model.vocab", "holds no character"}
	}
	return newChars(spelling, added, around), nil
}

func parseBPE(top, model fields, added addedTokens) (Tokenizer, error) {
	if err := checkModel(model); err != nil {
		return nil, err
	}
	if err := model.wantBool("byte_fallback", false, false); err != nil {
		return nil, err
	}
	ignoreMerges, err := model.boolean("ignore_merges", false)
	if err != nil {
		return nil, err
	}
	form, err := parseForm(top)
	if err != nil {
		return nil, err
	}
	pre, err := parsePreTokenizer(top)
	if err != nil {
		return nil, err
	}
	if decoder, err := top.object("decoder"); err != nil {
		return nil, err
	} else if kind, err := decoder.str("type"); err != nil {
		return nil, err
	} else if kind != "ByteLevel" {
		return nil, &UnsupportedError{"decoder.type", strconv.Quote(kind), "ByteLevel"}
	}
	spelling, ids, own, err := vocabulary(model, added)
	if err != nil {
		return nil, err
	}
	around, err := parseTemplate(top, spelling)
	if err != nil {
		return nil, err
	}
	pieces, bytesKnown := make([]string, len(spelling)), 0
	for id, s := range spelling {
		if !own[id] {
			pieces[id] = s
			continue
		}
		raw, ok := fromByteChars(s)
		if !ok || raw == "" {
			return nil, &FormatError{"model.vocab", fmt.Sprintf("token %q is not spelled in the byte-level alphabet", clip(s))}
		}
		pieces[id] = raw
		if len(raw) == 1 {
			bytesKnown++
		}
	}
	if bytesKnown == 0 {
		return nil, &FormatError{"model.vocab", "holds no byte"}
	}
	if !model.null("unk_token") && bytesKnown < 256 {
		return nil, &UnsupportedError{"model.unk_token", string(model.raw["unk_token"]), "null where the vocabulary lacks a byte"}
	}
	for _, a := range added {
		if a.late {
			pieces[a.id] = form.apply(a.content) // as the text that it was found in
		}
	}
	merges, err := parseMerges(model, ids, own)
	if err != nil {
		return nil, err
	}
	return newBPE(pieces, own, merges, added, around, form, pre, ignoreMerges), nil
}

// checkModel refuses what no kind of BPE here does.
func checkModel(model fields) error {
	if err := model.only("type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
		"byte_fallback", "ignore_merges", "vocab", "merges"); err != nil {
		return err
	}
	for _, key := range []string{"continuing_subword_prefix", "end_of_word_suffix"} {
		if !model.null(key) && string(model.raw[key]) != `""` {
			return &UnsupportedError{"model." + key, string(model.raw[key]), "null or empty"}
		}
	}
	if v := string(model.raw["dropout"]); !model.null("dropout") && v != "0" && v != "0.0" {
		return &UnsupportedError{"model.dropout", v, "null"}
	}
	_, err := model.boolean("fuse_unk", false)
	return err
}

func parseMerges(model fields, ids map[string]int32, own []bool) ([]merge, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(model.raw["merges"], &list); err != nil {
		return nil, &FormatError{"model.merges", "not a list"}
	}
	merges := make([]merge, 0, len(list))
	seen := make(map[pair]bool, len(list))
	for i, raw := range list {
		where := fmt.Sprintf("model.merges[%d]", i)
		var left, right string
		if raw[0] == '[' {
			var two []string
			if err := json.Unmarshal(raw, &two); err != nil || len(two) != 2 {
				return nil, &FormatError{where, "not a pair of strings"}
			}
			left, right = two[0], two[1]
		} else {
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				return nil, &FormatError{where, "neither a string nor a pair of strings"}
			}
			var ok bool
			if left, right, ok = strings.Cut(s, " "); !ok || strings.Contains(right, " ") {
				return nil, &FormatError{where, fmt.Sprintf("%q is not two tokens", clip(s))}
			}
		}
		var m merge
		for _, part := range []struct {
			token string
			id    *int32
		}{{left, &m.left}, {right, &m.right}, {left + right, &m.id}} {
			v, ok := ids[part.token]
			if !ok || !own[v] {
				return nil, &FormatError{where, fmt.Sprintf("token %q is not in model.vocab, or is an added token", clip(part.token))}
			}
			*part.id = v
		}
		if left == "" || right == "" || seen[m.pair] {
			return nil, &FormatError{where, fmt.Sprintf("%q and %q are empty or merged twice", clip(left), clip(right))}
		}
		seen[m.pair] = true
		merges = append(merges, m)
	}
	return merges, nil
}

// sameJSON reports whether a and b are the same value.
func sameJSON(a []byte, b string) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

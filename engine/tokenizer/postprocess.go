package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// template is what a post-processor puts before and after every text: ids of tokens.
type template struct{ before, after []int32 }

// parseTemplate reads the post-processor. spelling is that of every id.
func parseTemplate(top fields, spelling []string) (t template, err error) {
	if top.null("post_processor") {
		return t, nil
	}
	p, err := top.object("post_processor")
	if err != nil {
		return t, err
	}
	return t, p.processor(&t, spelling, true)
}

// processor takes a sequence at the top only: reading lists in lists again and again would cost a hostile file's square.
func (p fields) processor(t *template, spelling []string, top bool) error {
	kind, err := p.str("type")
	if err != nil {
		return err
	}
	switch {
	case kind == "ByteLevel": // moves offsets
		return nil
	case kind == "TemplateProcessing":
		return p.template(t, spelling)
	case kind == "Sequence" && top:
		list, err := p.list("processors")
		if err != nil {
			return err
		}
		for _, q := range list {
			if err := q.processor(t, spelling, false); err != nil {
				return err
			}
		}
		return nil
	}
	return &UnsupportedError{p.path("type"), strconv.Quote(kind), "null, ByteLevel, or TemplateProcessing"}
}

// template adds what a template puts round one text. What it does with a pair of texts does not matter: there are none.
func (p fields) template(t *template, spelling []string) error {
	single, err := p.list("single")
	if err != nil {
		return err
	}
	var before, after []int32
	texts := 0
	for _, piece := range single {
		if piece.has("Sequence") {
			s, err := piece.object("Sequence")
			if err != nil {
				return err
			}
			id, err := s.str("id")
			if err != nil {
				return err
			}
			if texts++; id != "A" || texts > 1 {
				return &UnsupportedError{piece.where, "another text than the one there is", "the text once, with tokens before and after it"}
			}
			continue
		}
		s, err := piece.object("SpecialToken")
		if err != nil {
			return err
		}
		name, err := s.str("id")
		if err != nil {
			return err
		}
		ids, err := p.special(name, spelling)
		if err != nil {
			return err
		}
		if texts == 0 {
			before = append(before, ids...)
		} else {
			after = append(after, ids...)
		}
	}
	if texts == 0 {
		return &UnsupportedError{p.path("single"), "a template without the text", "the text once, with tokens before and after it"}
	}
	t.before, t.after = append(before, t.before...), append(t.after, after...)
	return nil
}

// special is what a name in a template stands for.
func (p fields) special(name string, spelling []string) ([]int32, error) {
	all, err := p.object("special_tokens")
	if err != nil {
		return nil, err
	}
	one, err := all.object(name)
	if err != nil {
		return nil, err
	}
	var ids []int32
	const most = 16
	if err := json.Unmarshal(one.raw["ids"], &ids); err != nil || len(ids) > most {
		return nil, &FormatError{one.path("ids"), "not a short list of token ids"}
	}
	for _, id := range ids {
		if id < 0 || int(id) >= len(spelling) {
			return nil, &FormatError{one.path("ids"), fmt.Sprintf("%d is not the id of a token", id)}
		}
	}
	return ids, nil
}

// marshal is the canonical post_processor.
func (t template) marshal(spelling []string) string {
	if len(t.before)+len(t.after) == 0 {
		return "null"
	}
	piece := func(kind, id string, n int) string {
		return fmt.Sprintf("{ %q: { \"id\": %s, \"type_id\": %d } }", kind, quote(id), n)
	}
	var single, tokens []string
	seen := map[int32]bool{}
	add := func(ids []int32) {
		for _, id := range ids {
			s := spelling[id]
			single = append(single, piece("SpecialToken", s, 0))
			if !seen[id] {
				seen[id] = true
				tokens = append(tokens, fmt.Sprintf("%s: { \"id\": %[1]s, \"ids\": [%d], \"tokens\": [%[1]s] }", quote(s), id))
			}
		}
	}
	add(t.before)
	single = append(single, piece("Sequence", "A", 0))
	add(t.after)
	pair := append(slices.Clone(single), piece("Sequence", "B", 1))
	return "{\n    \"type\": \"TemplateProcessing\",\n    \"single\": [" + strings.Join(single, ", ") + "],\n    \"pair\": [" +
		strings.Join(pair, ", ") + "],\n    \"special_tokens\": {" + strings.Join(tokens, ", ") + "}\n  }"
}

// list is a list of objects.
func (f fields) list(key string) ([]fields, error) {
	var raws []json.RawMessage
	if f.null(key) || json.Unmarshal(f.raw[key], &raws) != nil {
		return nil, &FormatError{f.path(key), "not a list"}
	}
	const most = 64 // far more than any program writes; a deep file must not cost a deep recursion
	if len(raws) > most {
		return nil, &FormatError{f.path(key), "too long"}
	}
	var out []fields
	for i, raw := range raws {
		o, err := object(slices.Clone(raw), fmt.Sprintf("%s[%d]", f.path(key), i))
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// checkPostProcessor refuses a post-processor that changes ids.
func checkPostProcessor(f fields, key string) error {
	if f.null(key) {
		return nil
	}
	p, err := f.object(key)
	if err != nil {
		return err
	}
	return p.checkProcessor(true)
}

// checkProcessor takes a sequence at the top only: reading lists in lists again and again would cost a hostile file's square.
func (p fields) checkProcessor(top bool) error {
	kind, err := p.str("type")
	if err != nil {
		return err
	}
	switch {
	case kind == "ByteLevel": // moves offsets
		return nil
	case kind == "TemplateProcessing":
		return p.checkTemplate()
	case kind == "Sequence" && top:
		list, err := p.list("processors")
		if err != nil {
			return err
		}
		for _, q := range list {
			if err := q.checkProcessor(false); err != nil {
				return err
			}
		}
		return nil
	}
	return &UnsupportedError{p.path("type"), strconv.Quote(kind), "null, ByteLevel, or a TemplateProcessing that adds nothing"}
}

// checkTemplate accepts a template of the text alone, as transformers writes it when it saves a tokenizer. What it does with
// a pair of texts does not matter: there are none.
func (p fields) checkTemplate() error {
	single, err := p.list("single")
	if err != nil {
		return err
	}
	adds := len(single) != 1
	for _, piece := range single {
		if !piece.has("Sequence") {
			adds = true
			continue
		}
		s, err := piece.object("Sequence")
		if err != nil {
			return err
		}
		id, err := s.str("id")
		if err != nil {
			return err
		}
		adds = adds || id != "A"
	}
	if adds {
		return &UnsupportedError{p.path("single"), "a template that adds tokens to every text", "the text alone: mito's rows begin and end where the " +
			"text does; set post_processor to null in a copy of the file to have it read without them"}
	}
	return nil
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

package tokenizer

import (
	"fmt"
	"strconv"

	"golang.org/x/text/unicode/norm"
)

// form is a Unicode normalization form that a text is brought into first; nil keeps the text. Decode then gives that form
// back.
type form struct {
	name string
	norm norm.Form
}

var forms = []*form{{"NFC", norm.NFC}, {"NFD", norm.NFD}, {"NFKC", norm.NFKC}, {"NFKD", norm.NFKD}}

func (f *form) apply(s string) string {
	if f == nil {
		return s
	}
	return f.norm.String(s)
}

func (f *form) json() string {
	if f == nil {
		return "null"
	}
	return "{\n    \"type\": " + strconv.Quote(f.name) + "\n  }"
}

// parseForm reads the normalizer of a byte-level BPE: none, one form, or a sequence of at most one.
func parseForm(top fields) (*form, error) {
	if top.null("normalizer") {
		return nil, nil
	}
	f, err := top.object("normalizer")
	if err != nil {
		return nil, err
	}
	kind, err := f.str("type")
	if err == nil && kind == "Sequence" {
		var steps []fields
		if steps, err = f.list("normalizers"); err == nil && len(steps) == 0 {
			return nil, nil
		}
		if err == nil && len(steps) == 1 {
			f = steps[0]
			kind, err = f.str("type")
		}
	}
	if err != nil {
		return nil, err
	}
	for _, known := range forms {
		if known.name == kind {
			return known, f.only("type")
		}
	}
	return nil, &UnsupportedError{f.path("type"), fmt.Sprintf("%q", kind), "null, NFC, NFD, NFKC or NFKD, or a sequence of one of them"}
}

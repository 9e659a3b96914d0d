package data

import (
	"errors"
	"testing"
)

func TestFilter(t *testing.T) {
	const text = "licence\none\n\n\n\nlicence \ntwo      --------\nlicence\nlicence"
	for _, c := range []struct {
		f    Filter
		want string
	}{
		{Filter{}, text},
		{Filter{Lines: 1}, "licence\none\n\n\n\ntwo      --------\n"},
		{Filter{Lines: 2}, "licence\none\n\n\n\nlicence \ntwo      --------\n"},
		{Filter{Runs: 2}, "licence\none\n\nlicence \ntwo  --\nlicence\nlicence"},
		{Filter{Lines: 1, Runs: 3}, "licence\none\n\n\ntwo   ---\n"},
	} {
		if got := c.f.Text(text); got != c.want {
			t.Errorf("%+v: %q, want %q", c.f, got, c.want)
		}
	}
	if got := (Filter{Runs: 1}).Text("\xff\xffaa\xffßß"); got != "\xffa\xffß" {
		t.Errorf("bytes that are no UTF-8: %q", got)
	}
	p := NewPart("training part", text)
	q := Filter{Lines: 1}.Part(p)
	if q.Hash == p.Hash || q.Hash != hashText(q.Text) || q.End != p.End || q.Source != p.Source || (Filter{}).Part(p) != p {
		t.Errorf("part %+v", q)
	}
	var arg *ArgError
	if err := (Filter{Lines: -1}).Validate(); !errors.As(err, &arg) {
		t.Errorf("-1 lines: %v", err)
	}
}

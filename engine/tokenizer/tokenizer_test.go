package tokenizer

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func mustChars(t testing.TB, text string, specials ...string) *Chars {
	t.Helper()
	c, err := NewChars(text, specials...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustBPE(t testing.TB, text string, vocab int, specials ...string) *BPE {
	t.Helper()
	b, err := TrainBPE(text, vocab, specials...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCharsIDs(t *testing.T) {
	c := mustChars(t, "hello wörld\n", EndOfText, "<pad>")
	if got, want := c.VocabSize(), 10+2; got != want {
		t.Fatalf("vocabulary %d, want %d", got, want)
	}
	ids, err := c.Encode("öd" + EndOfText + "\n<pad><pa")
	var unknown *UnknownCharError
	if !errors.As(err, &unknown) || unknown.Char != '<' || unknown.Offset != 22 || ids != nil {
		t.Fatalf("got %v, %v, want '<' unknown at byte 22", ids, err)
	}
	ids, err = c.Encode("öd" + EndOfText + "\n<pad>")
	if want := []int32{9, 2, 10, 0, 11}; err != nil || !slices.Equal(ids, want) {
		t.Fatalf("got %v, %v, want %v", ids, err, want)
	}
	if c.EOS() != 10 {
		t.Errorf("end of text is %d, want 10", c.EOS())
	}
	if got := mustChars(t, "ab").EOS(); got != -1 {
		t.Errorf("without specials end of text is %d, want -1", got)
	}
}

func TestBadInput(t *testing.T) {
	chars, bpe := mustChars(t, "abc"), mustBPE(t, "abc abc", 300)
	var (
		unknown  *UnknownCharError
		encoding *EncodingError
		id       *IDError
		arg      *ArgError
	)
	enc := func(tok Tokenizer, s string) error { _, err := tok.Encode(s); return err }
	dec := func(tok Tokenizer, ids ...int32) error { _, err := tok.Decode(ids); return err }
	newChars := func(text string, specials ...string) error { _, err := NewChars(text, specials...); return err }
	train := func(text string, vocab int, specials ...string) error {
		_, err := TrainBPE(text, vocab, specials...)
		return err
	}
	for name, c := range map[string]struct {
		err  error
		want any
		says string
	}{
		"unknown":         {enc(chars, "abéc"), &unknown, "U+00E9) at byte 2"},
		"latin1":          {enc(chars, "ab\xe9c"), &encoding, "byte 2"},
		"latin1 bpe":      {enc(bpe, "\uFFFDab\xe9c"), &encoding, "byte 5"},
		"id":              {dec(chars, 0, 3), &id, "id 3"},
		"negative id":     {dec(bpe, -1), &id, "id -1"},
		"no text":         {newChars(""), &arg, "empty"},
		"bad text":        {newChars("a\xff"), &encoding, "byte 1"},
		"special char":    {newChars("abc", "a"), &arg, "already"},
		"special empty":   {newChars("abc", ""), &arg, "empty"},
		"special twice":   {newChars("abc", "<x>", "<x>"), &arg, "twice"},
		"special bytes":   {newChars("abc", "<\xff>"), &arg, "UTF-8"},
		"small vocab":     {train("abc", 256, EndOfText), &arg, "from 257"},
		"huge vocab":      {train("abc", 1<<30), &arg, "possible"},
		"train no text":   {train("", 300), &arg, "empty"},
		"train bad text":  {train("\xc0", 300), &encoding, "byte 0"},
		"special a byte":  {train("abc", 300, "a"), &arg, "already"},
		"special a token": {train("abc abc abc", 300, "Ġabc"), &arg, "already"},
	} {
		if c.err == nil || !errors.As(c.err, c.want) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: got %v, want a %T that says %q", name, c.err, c.want, c.says)
		}
	}
}

// TestTrainStopsEarly: there is no second token to be had from one word seen once.
func TestTrainStopsEarly(t *testing.T) {
	for text, want := range map[string]int{"abcdef": 256, "ab ab": 257, "x": 256} {
		if got := mustBPE(t, text, 400).VocabSize(); got != want {
			t.Errorf("%q: vocabulary %d, want %d", text, got, want)
		}
	}
}

// TestTrainOrder: the frequent pair first, then the smaller ids.
func TestTrainOrder(t *testing.T) {
	b := mustBPE(t, "cd cd cd ab ab ab xy xy xy xy", 256+6)
	var got []string
	for _, m := range b.merges {
		got = append(got, b.pieces[m.left]+"+"+b.pieces[m.right])
	}
	// The words in the middle begin with a space; its id, 220, is above all letters'.
	want := []string{"x+y", " +xy", "a+b", "c+d", " +ab", " +cd"}
	if !slices.Equal(got, want) {
		t.Errorf("merges %q, want %q", got, want)
	}
}

// TestMergeOrder checks the heap against the definition: join the first pair of
// the list that occurs, its leftmost place first, until none does.
func TestMergeOrder(t *testing.T) {
	text := sample(t)
	b := mustBPE(t, text, 360)
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-e hst]{0,40}`).Draw(t, "word")
		got, err := b.appendWord(nil, word, 0, &merger{})
		if err != nil {
			t.Fatal(err)
		}
		var ids []int32
		for i := range len(word) {
			ids = append(ids, b.byteID[word[i]])
		}
		for {
			best, at := int32(-1), 0
			for i := 1; i < len(ids); i++ {
				if r, ok := b.rank[pair{ids[i-1], ids[i]}]; ok && (best < 0 || r < best) {
					best, at = r, i-1
				}
			}
			if best < 0 {
				break
			}
			ids = slices.Replace(ids, at, at+2, b.merges[best].id)
		}
		if !slices.Equal(got, ids) {
			t.Fatalf("%q: got %v, want %v", word, got, ids)
		}
	})
}

// TestRoundTrip: whatever a tokenizer encodes comes back, and so does the
// tokenizer itself from its file, with the same hash and the same ids.
func TestRoundTrip(t *testing.T) {
	text := sample(t)
	bpe := mustBPE(t, text, 350, EndOfText, "<|im_start|>")
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		if cut := rapid.SampledFrom([]string{"", EndOfText, "<|im_start|>", "<|endof"}).Draw(t, "special"); cut != "" {
			s += cut + s + cut
		}
		toks := []Tokenizer{bpe}
		if s != "" {
			c, err := NewChars(s, EndOfText)
			if err != nil {
				t.Fatal(err)
			}
			toks = append(toks, c)
		}
		for _, tok := range toks {
			ids, err := tok.Encode(s)
			if err != nil {
				t.Fatal(err)
			}
			back, err := tok.Decode(ids)
			if err != nil || back != s {
				t.Fatalf("%q came back as %q, %v", s, back, err)
			}
			file, err := tok.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			ids2, err := again.Encode(s)
			if again.Hash() != tok.Hash() || again.EOS() != tok.EOS() || err != nil || !slices.Equal(ids, ids2) {
				t.Fatalf("%q: the tokenizer read back differs: %v, %v, %v", s, ids, ids2, err)
			}
		}
	})
}

// TestTrainedOnAnything: any text trains, round-trips and gives a readable file.
func TestTrainedOnAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.RuneFrom([]rune("ab '’é日\n\t1")), 1, 200, -1).Draw(t, "text")
		b, err := TrainBPE(s, rapid.IntRange(257, 290).Draw(t, "vocab"), EndOfText)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := b.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, _ := b.Decode(ids); back != s {
			t.Fatalf("%q came back as %q", s, back)
		}
		file, _ := b.MarshalJSON()
		if again, err := Parse(file); err != nil || again.Hash() != b.Hash() {
			t.Fatalf("read back: %v", err)
		}
	})
}

// TestStream: pieces are UTF-8 at every moment and add up to Decode.
func TestStream(t *testing.T) {
	b := mustBPE(t, "日本語 日本語 é é é 😀😀", 280)
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOf(rapid.Int32Range(0, int32(b.VocabSize()-1))).Draw(t, "ids")
		if rapid.Bool().Draw(t, "valid") {
			ids, _ = b.Encode(rapid.StringOf(rapid.RuneFrom([]rune("日本é😀a "))).Draw(t, "text"))
		}
		s, got := NewStream(b), ""
		for _, id := range ids {
			part, err := s.Next(id)
			if err != nil || !utf8.ValidString(part) {
				t.Fatalf("piece %q, %v", part, err)
			}
			got += part
		}
		got += s.Flush()
		if want, _ := b.Decode(ids); got != want {
			t.Fatalf("%v: streamed %q, decoded %q", ids, got, want)
		}
	})
	s := NewStream(b)
	if _, err := s.Next(b.byteID[0xE6]); err != nil {
		t.Fatal(err)
	}
	var id *IDError
	if _, err := s.Next(1 << 20); !errors.As(err, &id) {
		t.Errorf("got %v, want an IDError", err)
	}
	if got := s.Flush(); got != replacement || s.Flush() != "" {
		t.Errorf("after an error the stream flushed %q, want U+FFFD once", got)
	}
}

func TestSaveLoad(t *testing.T) {
	dir := t.TempDir()
	tok := mustChars(t, "né\x00\u2028<>&\"\\/", EndOfText)
	path := filepath.Join(dir, FileName)
	for range 2 { // the second time over the first
		if err := tok.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []string{path, dir} {
		again, err := Load(from)
		if err != nil || again.Hash() != tok.Hash() {
			t.Errorf("%s: %v", from, err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v: want one file", left, err)
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := tok.Save(filepath.Join(path, "none", FileName)); err == nil {
		t.Error("saved into a file")
	}
	// A failed save leaves neither the target nor a temporary file behind.
	busy := filepath.Join(dir, "busy")
	if err := os.MkdirAll(filepath.Join(busy, FileName, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := tok.Save(filepath.Join(busy, FileName)); err == nil {
		t.Error("saving over a folder succeeded")
	}
	if left, _ := os.ReadDir(busy); len(left) != 1 {
		t.Errorf("a failed save left %v", left)
	}
	if runtime.GOOS == "linux" {
		if _, err := Load("/dev/zero"); err == nil {
			t.Error("a device was read as a tokenizer")
		}
	}
}

// TestHash: the hash tells vocabularies apart, and nothing else.
func TestHash(t *testing.T) {
	a := mustChars(t, "abc")
	if b := mustChars(t, "cabbage"[:4]); a.Hash() != b.Hash() {
		t.Error("the same alphabet has two hashes")
	}
	for name, other := range map[string]Tokenizer{
		"alphabet": mustChars(t, "abd"), "special": mustChars(t, "abc", EndOfText), "bpe": mustBPE(t, "abc", 256),
	} {
		if a.Hash() == other.Hash() {
			t.Errorf("%s: the same hash", name)
		}
	}
	var compact bytes.Buffer
	file, _ := a.MarshalJSON()
	for _, b := range file {
		if b != '\n' && b != ' ' {
			compact.WriteByte(b)
		}
	}
	if b, err := Parse(compact.Bytes()); err != nil || b.Hash() != a.Hash() {
		t.Errorf("white space in the file changes the hash: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	text := sample(t)
	for _, tok := range []Tokenizer{mustChars(t, text), mustBPE(t, text, 300)} {
		want, err := tok.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if got, err := tok.Encode(text); err != nil || !slices.Equal(got, want) {
					t.Errorf("concurrent encoding differs: %v", err)
				}
			})
		}
		wg.Wait()
	}
}

// TestShakespeare trains on a megabyte, which must take seconds at most; the
// test's own time shows it. The number of tokens was confirmed with Hugging Face.
func TestShakespeare(t *testing.T) {
	data, err := os.ReadFile("../../../shared/data/tinyshakespeare.txt")
	if err != nil {
		t.Skip("tinyshakespeare.txt is not beside this checkout")
	}
	for vocab, want := range map[int]int{512: 575345, 4096: 344092} {
		b := mustBPE(t, string(data), vocab)
		ids, err := b.Encode(string(data))
		if err != nil || len(ids) != want || b.VocabSize() != vocab {
			t.Errorf("vocabulary %d of %d: %d tokens, %v, want %d", b.VocabSize(), vocab, len(ids), err, want)
		}
		if back, _ := b.Decode(ids); back != string(data) {
			t.Error("the text does not come back")
		}
	}
}

func BenchmarkTrainBPE(b *testing.B) {
	text := strings.Repeat(sample(b), 200)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := TrainBPE(text, 512); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	text := strings.Repeat(sample(b), 200)
	for name, tok := range map[string]Tokenizer{"chars": mustChars(b, text), "bpe": mustBPE(b, text, 512)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := tok.Encode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// An alphabet is bounded before anything is made of it, and the message names the way out.
func TestTooManyCharacters(t *testing.T) {
	letters := func(n int) string {
		var b strings.Builder
		for r := rune(0x10000); n > 0; n, r = n-1, r+1 {
			b.WriteRune(r)
		}
		return b.String()
	}
	var arg *ArgError
	_, err := NewChars(letters(MaxChars + 1))
	if !errors.As(err, &arg) || !strings.Contains(err.Error(), "65537 different characters") || !strings.Contains(err.Error(), "--bpe") {
		t.Errorf("got %v, want an ArgError that names --bpe", err)
	}
	if c, err := NewChars(letters(MaxChars)); err != nil || c.VocabSize() != MaxChars {
		t.Errorf("%d characters: %v", MaxChars, err)
	}
}

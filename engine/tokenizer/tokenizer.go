package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"mito/engine/files"
)

// FileName is the name of a tokenizer inside a model folder.
const FileName = "tokenizer.json"

// EndOfText is the customary spelling of the end-of-text token.
const EndOfText = "<|endoftext|>"

// MaxFileBytes bounds the tokenizer.json that [Load] reads.
const MaxFileBytes = 64 << 20

// A Tokenizer maps text to ids in [0, VocabSize) and back.
type Tokenizer interface {
	// Encode returns the ids of s. It fails with *EncodingError where s is not
	// UTF-8 and with *UnknownCharError or *UnknownByteError where the vocabulary
	// lacks something.
	Encode(s string) ([]int32, error)
	// Decode returns the text of ids. Bytes that do not form UTF-8 (a model may
	// generate half a character) become U+FFFD, one for each maximal invalid
	// part, as Hugging Face does. It fails with *IDError.
	Decode(ids []int32) (string, error)
	// AppendToken appends the exact bytes that id stands for, which may be a part
	// of a character. It fails with *IDError.
	AppendToken(dst []byte, id int32) ([]byte, error)
	// VocabSize is the number of ids, added tokens included.
	VocabSize() int
	// EOS is the id of the end-of-text token, -1 if there is none. It is the
	// first of the customary spellings that is among the added tokens.
	EOS() int32
	// Special says that an id is not text, but a mark such as the end of one.
	Special(id int32) bool
	// Template is what a tokenizer of another program puts before and after every text, such as <s>. Encode leaves it out;
	// what goes on from a text, and rows that are cut out of one, begin with what stands before.
	Template() (before, after []int32)
	// Hash is the SHA-256 of the canonical tokenizer.json without its template, in hexadecimal.
	Hash() string
	// MarshalJSON returns the canonical tokenizer.json.
	MarshalJSON() ([]byte, error)
	// Save writes the canonical tokenizer.json to path. A crash or a full disk
	// leaves either the old file or the new one, see [files.SaveFile].
	Save(path string) error
}

var (
	_ Tokenizer = (*Chars)(nil)
	_ Tokenizer = (*BPE)(nil)
	_ Tokenizer = (*Sentence)(nil)
)

// Load reads a tokenizer.json; path names the file or the folder that holds it.
// See [Parse] for what is accepted.
func Load(path string) (Tokenizer, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, FileName)
	}
	data, err := files.ReadLimited(path, MaxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	return t, nil
}

// core is what both tokenizers share: the bytes of every id, the added tokens,
// and the canonical file.
type core struct {
	pieces []string // [V] the bytes of each id
	added  addedTokens
	eos    int32
	around template
	json   []byte
	hash   string
}

// seal fixes the canonical file and its hash; the tokenizer does not change afterwards. write makes the file, with what is
// to stand as its post-processor; spelling is that of the ids.
func (c *core) seal(spelling []string, write func(postProcessor string) []byte) {
	bare := write("null")
	sum := sha256.Sum256(bare)
	c.json, c.hash = bare, hex.EncodeToString(sum[:])
	if around := c.around.marshal(spelling); around != "null" {
		c.json = write(around)
	}
}

func (c *core) Special(id int32) bool {
	for i := range c.added {
		if t := &c.added[i]; t.id == id {
			return t.special
		}
	}
	return false
}

func (c *core) Template() (before, after []int32) { return c.around.before, c.around.after }

// Prompt is a text as a model goes on from it: with what the template of the tokenizer puts before a text, and without what
// it puts after.
func Prompt(t Tokenizer, text string) ([]int32, error) {
	ids, err := t.Encode(text)
	before, _ := t.Template()
	return append(slices.Clone(before), ids...), err
}

func (c *core) VocabSize() int { return len(c.pieces) }
func (c *core) EOS() int32     { return c.eos }
func (c *core) Hash() string   { return c.hash }

func (c *core) MarshalJSON() ([]byte, error) { return append([]byte(nil), c.json...), nil }

func (c *core) AppendToken(dst []byte, id int32) ([]byte, error) {
	if id < 0 || int(id) >= len(c.pieces) {
		return dst, &IDError{ID: id, VocabSize: len(c.pieces)}
	}
	return append(dst, c.pieces[id]...), nil
}

func (c *core) Decode(ids []int32) (string, error) {
	n := 0
	for _, id := range ids {
		if id < 0 || int(id) >= len(c.pieces) {
			return "", &IDError{ID: id, VocabSize: len(c.pieces)}
		}
		n += len(c.pieces[id])
	}
	b := make([]byte, 0, n)
	for _, id := range ids {
		b = append(b, c.pieces[id]...)
	}
	return lossy(b), nil
}

func (c *core) Save(path string) error {
	err := files.SaveFile(path, func(w io.Writer) error {
		_, err := w.Write(c.json)
		return err
	})
	if err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	return nil
}

// eosNames are the spellings of the end-of-text token in use, the commonest first.
var eosNames = []string{EndOfText, "</s>", "<|end_of_text|>", "<|im_end|>", "<eos>", "<EOS>", "[EOS]"}

func findEOS(added addedTokens) int32 {
	for _, name := range eosNames {
		for _, t := range added {
			if t.content == name {
				return t.id
			}
		}
	}
	return -1
}

// checkUTF8 returns an *EncodingError at the first byte of s that is not UTF-8.
func checkUTF8(s string) error {
	if utf8.ValidString(s) {
		return nil
	}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return &EncodingError{Offset: i}
			}
		}
	}
	return nil
}

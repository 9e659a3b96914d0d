package files

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

// MaxJSON is the size limit of small JSON files: config.json, state.json, report.json. A tokenizer.json may be larger; its
// reader passes its own limit.
const MaxJSON = 16 << 20

// ReadLimited reads a whole regular file of at most limit bytes. Errors: the file system's, ErrNotRegular, ErrTooLarge.
func ReadLimited(path string, limit int64) ([]byte, error) {
	f, _, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, &FormatError{Path: path, Err: ErrTooLarge, Detail: fmt.Sprintf("more than %d bytes", limit)}
	}
	return data, nil
}

// OpenRegular opens a file and tells its size. It looks before it opens: opening a pipe would wait for a writer.
// Errors: the file system's, or ErrNotRegular.
func OpenRegular(path string) (f *os.File, size int64, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, &FormatError{Path: path, Err: ErrNotRegular}
	}
	if f, err = os.Open(path); err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// OpenUpdate opens a regular file for reading and writing, or makes it. Like OpenRegular it looks first.
// Errors: the file system's, or ErrNotRegular.
func OpenUpdate(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, &FormatError{Path: path, Err: ErrNotRegular}
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
}

// ReadJSON reads one JSON value of at most limit bytes (0 means MaxJSON) into v. See [DecodeJSON].
func ReadJSON(path string, v any, limit int64) error {
	if limit <= 0 {
		limit = MaxJSON
	}
	data, err := ReadLimited(path, limit)
	if err != nil {
		return err
	}
	return WithPath(DecodeJSON(data, v), path)
}

// DecodeJSON reads one JSON value into v. It is stricter than encoding/json: invalid UTF-8, a name that occurs twice in
// one object and anything after the value are refused. Fields that v does not know are skipped, because a
// config.json written by other programs has many. Errors: ErrSyntax, ErrDuplicate, ErrTruncated.
func DecodeJSON(data []byte, v any) error {
	if err := CheckJSON(data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) {
			return Errorf(ErrSyntax, te.Field, "holds a %s, expected %v (byte %d)", te.Value, te.Type, te.Offset)
		}
		return Errorf(ErrSyntax, "", "%v", err)
	}
	return nil
}

// CheckJSON accepts one well-formed JSON value without repeated names, and nothing after it.
func CheckJSON(data []byte) error {
	if !utf8.Valid(data) {
		return Errorf(ErrSyntax, "", "not valid UTF-8")
	}
	if !json.Valid(data) {
		return syntaxError(data)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	// One set of names for each open object, nil for an array. wantKey says that the next string is a name.
	var open []map[string]bool
	wantKey := false
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return Errorf(ErrSyntax, "", "%v", err)
		}
		switch t := tok.(type) {
		case json.Delim:
			switch t {
			case '{':
				open, wantKey = append(open, map[string]bool{}), true
				continue
			case '[':
				open, wantKey = append(open, nil), false
				continue
			}
			open = open[:len(open)-1]
		case string:
			if wantKey {
				names := open[len(open)-1]
				if names[t] {
					return Errorf(ErrDuplicate, t, "near byte %d", dec.InputOffset())
				}
				names[t] = true
				wantKey = false
				continue
			}
		}
		wantKey = len(open) > 0 && open[len(open)-1] != nil
	}
}

func syntaxError(data []byte) error {
	var v any
	err := json.Unmarshal(data, &v)
	var se *json.SyntaxError
	if errors.As(err, &se) {
		if se.Offset >= int64(len(data)) {
			return Errorf(ErrTruncated, "", "the JSON text stops at byte %d: %v", len(data), err)
		}
		return Errorf(ErrSyntax, "", "at byte %d: %v", se.Offset, err)
	}
	return Errorf(ErrSyntax, "", "%v", err)
}

// WriteJSON writes v as indented JSON with SaveFile.
func WriteJSON(path string, v any) error {
	data, err := EncodeJSON(v)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return SaveFile(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// EncodeJSON writes v as indented JSON with a line end, and without the escapes that only HTML needs.
func EncodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

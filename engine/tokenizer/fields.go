package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// fields is a JSON object read strictly: keys match exactly and occur once.
// encoding/json alone folds case and lets the last of several keys win.
type fields struct {
	where string // dotted path of the object, "" at the top
	raw   map[string]json.RawMessage
}

func object(data []byte, where string) (fields, error) {
	f := fields{where: where, raw: map[string]json.RawMessage{}}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return f, &FormatError{where, "not an object"}
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return f, &FormatError{where, err.Error()}
		}
		key, _ := t.(string)
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return f, &FormatError{f.path(key), err.Error()}
		}
		if _, twice := f.raw[key]; twice {
			return f, &FormatError{f.path(key), "given twice"}
		}
		f.raw[key] = raw
	}
	return f, nil
}

func (f fields) path(key string) string {
	key = clip(key)
	if f.where == "" {
		return key
	}
	return f.where + "." + key
}

// has reports whether key is there, null included.
func (f fields) has(key string) bool { return f.raw[key] != nil }

// null reports whether key is missing or null.
func (f fields) null(key string) bool {
	raw := f.raw[key]
	return raw == nil || string(raw) == "null"
}

func (f fields) only(keys ...string) error {
	for key := range f.raw {
		if !slices.Contains(keys, key) {
			return &UnsupportedError{f.path(key), "an unknown field", fmt.Sprintf("one of %q", keys)}
		}
	}
	return nil
}

func (f fields) object(key string) (fields, error) {
	if f.null(key) {
		return fields{}, &FormatError{f.path(key), "missing"}
	}
	return object(f.raw[key], f.path(key))
}

func (f fields) str(key string) (string, error) {
	var s string
	if f.null(key) || json.Unmarshal(f.raw[key], &s) != nil {
		return "", &FormatError{f.path(key), "not a string"}
	}
	return s, nil
}

func (f fields) id(key string) (int32, error) {
	v, err := strconv.ParseInt(string(f.raw[key]), 10, 32)
	if err != nil || v < 0 {
		return 0, &FormatError{f.path(key), "not a token id"}
	}
	return int32(v), nil
}

func (f fields) boolean(key string, missing bool) (bool, error) {
	if f.null(key) {
		return missing, nil
	}
	switch string(f.raw[key]) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, &FormatError{f.path(key), "neither true nor false"}
}

func (f fields) wantBool(key string, want, missing bool) error {
	v, err := f.boolean(key, missing)
	if err == nil && v != want {
		err = &UnsupportedError{f.path(key), strconv.FormatBool(v), strconv.FormatBool(want)}
	}
	return err
}

func (f fields) wantExact(key, want string) error {
	if !f.has(key) || !sameJSON(f.raw[key], want) {
		return &UnsupportedError{f.path(key), string(f.raw[key]), want}
	}
	return nil
}

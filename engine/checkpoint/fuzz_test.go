package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"mito/engine/files"
)

// FuzzDecode: no input makes the reader panic, every refusal is a *FormatError, and what it accepts covers its bytes
// exactly and survives being written and read again.
func FuzzDecode(f *testing.F) {
	golden, err := os.ReadFile("testdata/golden.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(encoded(f, sample(), map[string]string{"format": "pt"}))
	for _, c := range malformedFiles() {
		f.Add(c.data)
	}
	f.Add(raw(`{"__metadata__":{"a":"b"}}  `, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Decode(data)
		if err != nil {
			var fe *FormatError
			if !errors.As(err, &fe) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		for i := range file.Tensors {
			x := &file.Tensors[i]
			if err := x.check(); err != nil {
				t.Fatal(err)
			}
			if _, err := file.Get(x.Name, x.DType, x.Shape...); err != nil {
				t.Fatal(err)
			}
			if _, err := x.Float(); err != nil && !errors.Is(err, ErrDType) {
				t.Fatal(err)
			}
		}
		if err := file.CheckFinite(); err != nil && !errors.Is(err, ErrNotFinite) {
			t.Fatal(err)
		}
		if file.Bytes() > int64(len(data)) {
			t.Fatalf("%d bytes of tensors in a file of %d", file.Bytes(), len(data))
		}
		var b bytes.Buffer
		if err := Encode(&b, file.Tensors, file.Metadata); err != nil {
			if file.Has("") { // the reader tolerates a name that the writer does not use
				return
			}
			t.Fatal(err)
		}
		again, err := Decode(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !sameFile(file, again) {
			t.Fatal("write and read changed the content")
		}
	})
}

// FuzzJSON: what the strict reader accepts is JSON that the plain one accepts, with no name repeated in the outer object,
// and configurations made from it are refused by typed errors only.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":{"a":[{"a":1},{"a":2}]},"b":"a"}`, `{"a":1,"a":2}`, `[1,"a",{"a":null}]`, `{"a":1}x`, `{"a":`, "{\"\xff\":1}",
		`{"a":1,"\u0061":2}`, llmCompressorConfig, `{"eos_token_id":[1,2],"top_p":0.9}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		typed := func(err error) {
			var fe *FormatError
			if err != nil && !errors.As(err, &fe) {
				t.Fatalf("untyped error %v", err)
			}
		}
		var v any
		err := files.DecodeJSON(data, &v)
		typed(err)
		if err == nil && !json.Valid(data) {
			t.Fatal("accepted what is not JSON")
		}
		if m, ok := v.(map[string]any); ok && err == nil {
			n, depth := 0, 0
			dec := json.NewDecoder(bytes.NewReader(data))
			for dec.More() || depth > 0 {
				tok, err := dec.Token()
				if err != nil {
					t.Fatal(err)
				}
				switch tok {
				case json.Delim('{'), json.Delim('['):
					depth++
				case json.Delim('}'), json.Delim(']'):
					depth--
				}
				if depth == 1 && tok != json.Delim('{') {
					n++ // names, scalar values, and the ends of nested values
				}
			}
			if n != 2*len(m) {
				t.Fatalf("%d names and values for %d different names", n, len(m))
			}
		}
		q, err := ParseQuantization(data)
		typed(err)
		if q != nil {
			typed(q.CheckInt8())
			if _, err := q.AddTo(data); err != nil {
				typed(err)
			}
		}
		var g GenerationConfig
		if err := files.DecodeJSON(data, &g); err == nil {
			typed(g.Check())
		}
	})
}

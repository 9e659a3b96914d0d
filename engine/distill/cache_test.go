package distill

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mito/backend/cpu"
	"mito/engine/model"
)

// What the cache returns is what was written, to the bit; with all probabilities kept it is the live loss.
func TestCache(t *testing.T) {
	b := cpu.New(1)
	student, teacher := newModel(t, b, 32, true), newModel(t, b, 64, false)
	path := filepath.Join(t.TempDir(), "cache")
	for _, k := range []int{vocab, 3} {
		os.Remove(path)
		key := Key{Teachers: []string{"t"}, Source: source(t).Hash(), Tokens: rows * tokens, TopK: k, Temperature: 2}
		o := Options{Temperature: 2, Alpha: 0.5, TopK: k}
		open := func() *Cache {
			c, err := OpenCache(path, key)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		cache := open()
		wroteLoss, wrote := pass(t, student, objective(t, student, []*model.Model{teacher}, cache, o), 2)
		if err := cache.Close(); err != nil {
			t.Fatal(err)
		}
		cache = open()
		// A different teacher behind the same key: what is read must not be asked anew.
		readLoss, read := pass(t, student, objective(t, student, []*model.Model{newModel(t, b, 48, false)}, cache, o), 2)
		if err := cache.Close(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(wrote, read) || !slices.Equal(wroteLoss, readLoss) {
			t.Errorf("top %d: the cached outputs teach otherwise than the live ones", k)
		}
		if k == vocab {
			_, live := pass(t, student, objective(t, student, []*model.Model{teacher}, nil, o), 2)
			for i := range live {
				if math.Abs(float64(live[i]-read[i])) > 1e-5 {
					t.Fatalf("all probabilities kept: gradient %g, live %g", read[i], live[i])
				}
			}
		}
		other := key
		other.Source = "another"
		var wrong *CacheKeyError
		if _, err := OpenCache(path, other); !errors.As(err, &wrong) {
			t.Errorf("a cache of other data was opened: %v", err)
		}
	}
}

// FuzzCache: whatever lies in the file of a cache, it opens or is refused, and what is read from it are the numbers that an
// entry was written with.
func FuzzCache(f *testing.F) {
	key := Key{Teachers: []string{"t"}, Source: "s", Tokens: 2, TopK: 2, Temperature: 1}
	path := filepath.Join(f.TempDir(), "cache")
	c, err := OpenCache(path, key)
	if err != nil {
		f.Fatal(err)
	}
	wrote := NewRecord(2, 2)
	wrote.keepLargest([]float32{.5, .3, .2, .1, .1, .8})
	if err := errors.Join(c.Write(wrote, 0, 0), c.Close()); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(whole[:10])
	f.Add(slices.Concat(whole[:c.base], make([]byte, 64)))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "cache")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := OpenCache(path, key)
		var other *CacheKeyError
		if errors.As(err, &other) {
			return
		}
		if err != nil {
			t.Fatalf("untyped error %v", err)
		}
		defer c.Close()
		for step := range int64(3) {
			r := NewRecord(2, 2)
			if found, err := c.Read(r, step, 0, 2); err != nil {
				t.Fatal(err)
			} else if found && step == 0 && bytes.Equal(data, whole) && !slices.Equal(r.IDs, wrote.IDs) {
				t.Fatalf("read %v, wrote %v", r.IDs, wrote.IDs)
			}
			if err := c.Write(wrote, step, 0); err != nil {
				t.Fatal(err)
			}
			found, err := c.Read(r, step, 0, 2)
			if err != nil || !found || !slices.Equal(r.Probs, wrote.Probs) || !slices.Equal(r.Tail, wrote.Tail) {
				t.Fatalf("step %d: found %v, %v, read %+v, wrote %+v", step, found, err, r, wrote)
			}
		}
	})
}

// A torn or damaged entry reads as absent.
func TestCacheDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	key := Key{Teachers: []string{"t"}, Source: "s", Tokens: 4, TopK: 2, Temperature: 1}
	c, err := OpenCache(path, key)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := NewRecord(4, 2)
	r.keepLargest([]float32{.5, .3, .2, .1, .1, .8, .2, .2, .6, .4, .4, .2})
	if want := []int32{0, 1, 2, 0, 2, 0, 0, 1}; !slices.Equal(r.IDs, want) {
		t.Fatalf("largest ids %v, want %v", r.IDs, want)
	}
	if err := c.Write(r, 3, 0); err != nil {
		t.Fatal(err)
	}
	got := NewRecord(4, 2)
	for step, want := range map[int64]bool{0: false, 3: true, 4: false} {
		if found, err := c.Read(got, step, 0, 4); err != nil || found != want {
			t.Errorf("step %d: found %v, %v", step, found, err)
		}
	}
	if !slices.Equal(got.IDs, r.IDs) {
		t.Errorf("read %v, wrote %v", got.IDs, r.IDs)
	}
	if _, err := c.f.WriteAt([]byte{1}, c.offset(3, 1)); err != nil {
		t.Fatal(err)
	}
	if found, _ := c.Read(got, 3, 0, 4); found {
		t.Error("a damaged entry was read")
	}
}

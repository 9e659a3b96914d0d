package hf

import (
	"encoding/json"
	"fmt"

	"mito/engine/arch"
)

// keys reads the keys of a config.json and keeps the first error.
type keys struct {
	raw map[string]json.RawMessage
	err error
}

// fail keeps the first refusal.
func (k *keys) fail(field string, got any, want string) {
	if k.err == nil {
		k.err = &arch.FieldError{Field: field, Got: got, Want: want}
	}
}

// has reports a key whose value is not null.
func (k *keys) has(key string) bool {
	v, ok := k.raw[key]
	return ok && string(v) != "null"
}

// get reads the first of the names that is there into v, and leaves v alone where none is.
func get[T any](k *keys, v T, names ...string) T {
	for _, name := range names {
		if !k.has(name) {
			continue
		}
		if json.Unmarshal(k.raw[name], &v) != nil {
			k.fail(name, clip(k.raw[name]), fmt.Sprintf("%T", v))
		}
		break
	}
	return v
}

// within is an object inside the object.
func (k *keys) within(key string) *keys {
	in := &keys{}
	in.raw = get(k, in.raw, key)
	return in
}

// only refuses a key that is there with another value than those that change nothing.
func only[T comparable](k *keys, name string, missing T, allowed ...T) {
	got := get(k, missing, name)
	for _, a := range allowed {
		if got == a {
			return
		}
	}
	k.fail(name, got, fmt.Sprintf("%v", allowed[0]))
}

// clip keeps a hostile file from filling the screen through its error message.
func clip(raw []byte) string {
	const most = 80
	if len(raw) > most {
		return fmt.Sprintf("%q…", raw[:most])
	}
	return string(raw)
}

// rope reads the base of RoPE in both spellings: rope_theta with rope_scaling, and rope_parameters. Scaled positions,
// and those of a part of the head only, are refused.
func (k *keys) rope(c *arch.Config, theta, part float64) {
	at, in := "rope_parameters", k.within("rope_parameters")
	if !k.has(at) {
		at, in = "rope_scaling", k.within("rope_scaling")
	}
	if kind := get(in, "default", "rope_type", "type"); kind != "default" {
		k.fail(at+".rope_type", fmt.Sprintf("%q", kind), `"default": mito does not scale positions`)
	}
	for name := range in.raw {
		switch name {
		case "rope_type", "type", "rope_theta", "partial_rotary_factor":
		default:
			if in.has(name) { // a parameter of a scaling, or a list of layer types
				k.fail(at+"."+name, clip(in.raw[name]), "nothing beside rope_type and rope_theta: mito does not scale positions")
			}
		}
	}
	theta = get(k, theta, "rope_theta")
	c.RoPETheta = get(in, theta, "rope_theta")
	part = get(k, part, "partial_rotary_factor", "rope_pct")
	if part = get(in, part, "partial_rotary_factor"); part != 1 {
		k.fail("partial_rotary_factor", part, "1: mito turns whole heads")
	}
	if in.err != nil && k.err == nil {
		k.err = in.err
	}
}

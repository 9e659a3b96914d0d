package c99

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"mito/engine/arch"
	"mito/engine/student"
)

// reading is a way to understand SPEC.md wrongly, as changes of the C: what stands there and what comes in its place.
type reading struct {
	what    string
	model   string   // of readingModels
	changes []string // in pairs, in student.c
	unseen  bool     // by the self-test, which is short
}

// readingModels are the student of a game, and models that have what it lacks.
func readingModels() map[string]arch.Config {
	all := configs()
	game := arch.Edge(14, 12, 2, 32, 4, 2)
	game.QKNorm = true
	all["game"] = game
	all["long"] = arch.Edge(9, 600, 1, 8, 1, 1)
	delete(all, "usual")
	delete(all, "window")
	return all
}

var readings = []reading{
	{what: "sum: neighbours first", model: "game", changes: []string{"((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))", "((l[0] + l[1]) + (l[2] + l[3])) + ((l[4] + l[5]) + (l[6] + l[7]))"}},
	{what: "exp: one constant for ln 2", model: "gpt", changes: []string{"0x3f318000u", "0x3f317218u", "  r = r - (float)n * f32(0xb95e8083u);\n", ""}},
	{what: "exp: p*(r*r)", model: "llama", changes: []string{"(p * r) * r + r", "p * (r * r) + r"}},
	{what: "inverse root: 3 steps", model: "game", changes: []string{"i < 4; i++) y = y", "i < 3; i++) y = y"}},
	{what: "inverse root: 5 steps", model: "game", changes: []string{"i < 4; i++) y = y", "i < 5; i++) y = y"}},
	{what: "quantize: no floor", model: "game", changes: []string{"top - 0x24000000u >= INFINITE - 0x24000000u", "top - 1u >= INFINITE - 1u"}},
	{what: "quantize: x/(a/127)", model: "game", changes: []string{"nearest(x[i] * v)", "nearest(x[i] / (a / 127.0f))", "  v = 127.0f / a;\n", "  v = a; (void)v;\n"}},
	{what: "quantize: (x*127)/a", model: "game", changes: []string{"nearest(x[i] * v)", "nearest((x[i] * 127.0f) / a)", "  v = 127.0f / a;\n", "  v = a; (void)v;\n"}},
	{what: "quantize: half to even", model: "game", changes: []string{"(t >= 0.0f ? t + 0.5f : t - 0.5f)", "((t + 12582912.0f) - 12582912.0f)"}},
	{what: "norm: times 1/n", model: "odd", changes: []string{"sum(l) / (float)n + M->eps", "sum(l) * (1.0f / (float)n) + M->eps"}},
	{what: "norm: x*(r*gain)", model: "game", changes: []string{"y[i] = (x[i] * r) * gain[i]", "y[i] = x[i] * (r * gain[i])"}},
	{what: "norm: other eps", model: "game", changes: []string{"sum(l) / (float)n + M->eps", "sum(l) / (float)n + 1e-6f"}},
	{what: "layernorm: d*(r*gain)", model: "gpt", changes: []string{"((x[i] - mean) * r) * gain[i]", "(x[i] - mean) * (r * gain[i])"}},
	{what: "linear: (acc*s)*ws", model: "game", changes: []string{"(float)acc * (s * m->scale[r])", "((float)acc * s) * m->scale[r]"}},
	{what: "linear: no bias", model: "gpt", changes: []string{"  if (m->bias) y = y + m->bias[r];\n", ""}},
	{what: "linear: sums saturate", model: "game", changes: []string{"x += a[3] * q[3], y += b[3] * q[3];", "x += a[3] * q[3], y += b[3] * q[3];\n    if (x > 32767) x = 32767;"}},
	{what: "mulr: cut", model: "game", changes: []string{"(a * b + 16384) >> 15", "(a * b) >> 15"}},
	{what: "pow2: cut", model: "game", changes: []string{"(((2 * a) >> (d >> 11)) + 1) >> 1", "a >> (d >> 11)"}},
	{what: "pow2: 16 octaves", model: "game", changes: []string{"if (d > 65535) d = 65535;", "if (d > 32767) d = 32767;"}},
	{what: "score: (acc*ks)*c", model: "game", unseen: true, changes: []string{"(float)acc[t & 1] * (ks[t] * scale)", "((float)acc[t & 1] * ks[t]) * scale"}},
	{what: "score: (acc*c)*ks", model: "game", changes: []string{"(float)acc[t & 1] * (ks[t] * scale)", "((float)acc[t & 1] * scale) * ks[t]"}},
	{what: "score: rounded", model: "game", changes: []string{"y[t] = whole(sc);", "y[t] = nearest(sc);"}},
	{what: "score: floor", model: "game", changes: []string{"y[t] = whole(sc);", "y[t] = whole(sc) - (sc < (float)whole(sc));"}},
	{what: "score: other scale", model: "game", changes: []string{"quantize(q, dim, q8) * factor", "quantize(q, dim, q8) * f32(bits(factor) + 2)"}},
	{what: "attention: best from 0", model: "game", changes: []string{"best = INT32_MIN", "best = 0"}},
	{what: "attention: value scales rounded", model: "game", changes: []string{"| 0x800000u) >> down)", "| 0x800000u) + (1u << (down - 1)) >> down)"}},
	{what: "attention: weights cut", model: "game", changes: []string{"mulr(e, (int32_t)(((b & 0x7fffffu) | 0x800000u) >> down))", "(e * (int32_t)(((b & 0x7fffffu) | 0x800000u) >> down)) >> 15"}},
	{what: "attention: divided by Z", model: "game", changes: []string{"<< 23) / (float)(int32_t)z;", "<< 23);", "(float)acc[i] * scale;", "(float)acc[i] * scale / (float)(int32_t)z;"}},
	{what: "attention: no shift", model: "long", unseen: true, changes: []string{"while (n > 512 << shift) shift++;", ""}},
	{what: "rope: neighbouring pairs", model: "game", changes: []string{
		"a = x[i], b = x[i + half]", "a = x[2 * i], b = x[2 * i + 1]", "x[i] = a * c - b * s", "x[2 * i] = a * c - b * s", "x[i + half] = b * c + a * s", "x[2 * i + 1] = b * c + a * s"}},
	{what: "rope: recurrence in f32", model: "llama", changes: []string{"n[0] = c[0] * cf - c[1] * sf", "n[0] = (float)(c[0] * cf - c[1] * sf)", "n[1] = c[1] * cf + c[0] * sf", "n[1] = (float)(c[1] * cf + c[0] * sf)"}},
	{what: "QK-norm: after rope", model: "game", changes: []string{
		"#if STUDENT_QK_NORM\n    if (HAS(l->query_norm != NULL)) rmsnorm(x, dim, x < k ? l->query_norm : l->key_norm, x);\n#endif\n#if STUDENT_ROPE\n    if (HAS(cosine != NULL)) rope(x, cosine, sine);\n",
		"#if STUDENT_ROPE\n    rope(x, cosine, sine);\n    rmsnorm(x, dim, x < k ? l->query_norm : l->key_norm, x);\n"}, unseen: true},
	{what: "window: one shorter", model: "odd", unseen: true, changes: []string{"if (n > c->slots) slot %= c->slots, n = c->slots;", "if (n > c->slots - 1) slot %= c->slots - 1, n = c->slots - 1;"}},
	{what: "heads: h mod G", model: "game", changes: []string{"x < q + (g + 1) * (heads / kv) * dim; x += dim) attend(c, n, x,", "x < q + (g + 1) * (heads / kv) * dim; x += dim) attend(c, n, q + (x - q) / dim / (heads / kv) * dim + (x - q) / dim % (heads / kv) * kv * dim,"}},
	{what: "output: a scale for each head", model: "game", changes: []string{"  in = quantize(q, heads * dim, codes(s));\n", "  for (g = 0; g < heads; g++) in = quantize(q + g * dim, dim, codes(s) + g * dim);\n"}},
	{what: "gelu: u*z*a + u*b", model: "gpt", changes: []string{"u * (z * f32(0x3d922279u) + f32(0x3fcc422au))", "(u * z) * f32(0x3d922279u) + u * f32(0x3fcc422au)"}},
	{what: "ple: (g*e)*ts", model: "ple", unseen: true, changes: []string{"x[i] = x[i] * y;", "x[i] = (x[i] * (float)weight(m, r, i, group, &multiple)) * m->scale[r];"}},
	{what: "ple: gate reads behind down", model: "ple", changes: []string{
		"    in = quantize(gated,", "    in = normalize(s, l->norm2, BIAS_OF(l->norm2_bias));\n    linear(WITH(s) &l->ple_gate, codes(s), in, gated, SET);\n    lookup(&l->ple_table, token, gated, MULTIPLY);\n    in = quantize(gated,"}},
	{what: "ple: the first layer's tables", model: "ple", changes: []string{"lookup(&l->ple_table,", "lookup(&M->layers->ple_table,"}},
	{what: "swiglu: (g*u)/(1+e)", model: "llama", changes: []string{"(g / (1.0f + exponential(-g))) * u", "(g * u) / (1.0f + exponential(-g))"}},
}

// proof is what the device is held to.
func proof(t testing.TB, w *student.Weights) Proof {
	t.Helper()
	m, err := student.New(w, student.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d, err := student.Prove(m, student.DigestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	boot, err := student.ProveBoot(w)
	if err != nil {
		t.Fatal(err)
	}
	return Proof{Digest: d.Digest, Functions: d.Functions, Stream: d.Stream, Weights: d.Weights, Boot: boot}
}

// TestWrongReadings plants each in the C that mito writes and wants the digest to notice all, the self-test most.
func TestWrongReadings(t *testing.T) {
	needCompiler(t)
	ctx := context.Background()
	right := map[string]Files{}
	want := map[string]Proof{}
	for name, c := range readingModels() {
		w := random(t, c, false)
		want[name] = proof(t, w)
		files, err := Write(w, nil, Options{Proof: want[name]})
		if err != nil {
			t.Fatal(err)
		}
		right[name] = files
	}
	var planted, noticed, ofGame, game atomic.Int32
	t.Run("plant", func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(right)) {
			t.Run("none in "+name, func(t *testing.T) {
				t.Parallel()
				got, err := Run(ctx, right[name], "", "", "-O0")
				if err != nil {
					t.Fatal(err)
				}
				if err := got.Agrees(want[name]); err != nil {
					t.Error(err)
				}
			})
		}
		for _, r := range readings {
			t.Run(r.what, func(t *testing.T) {
				t.Parallel()
				files := maps.Clone(right[r.model])
				planted.Add(1)
				files["student.c"] = []byte(plant(t, string(files["student.c"]), r.changes))
				got, err := Run(ctx, files, "", "", "-O0", "-DSTUDENT_PORTABLE")
				if err != nil {
					_, said, ok := strings.Cut(err.Error(), "a result is no number; the self-test says ")
					if !ok {
						t.Fatal(err)
					}
					if _, err := fmt.Sscan(said, &got.Selftest); err != nil {
						t.Fatal(err)
					}
				}
				if got.Proof.Digest == want[r.model].Digest {
					t.Errorf("%s: the digest does not notice it", r.what)
				}
				if r.model == "game" {
					game.Add(1)
				}
				if got.Selftest != 0 {
					noticed.Add(1)
					if r.model == "game" {
						ofGame.Add(1)
					}
				}
				if seen := got.Selftest != 0; seen == r.unseen {
					t.Errorf("%s: the self-test notices it: %v", r.what, seen)
				}
			})
		}
	})
	t.Logf("%d readings are planted, the self-test notices %d; of %d in the student of a game %d", planted.Load(), noticed.Load(), game.Load(), ofGame.Load())
	if 14*noticed.Load() < 12*planted.Load() || 14*ofGame.Load() < 12*game.Load() {
		t.Error("the self-test notices fewer than 12 of 14")
	}
}

// plant makes the changes, each of which must be possible.
func plant(t *testing.T, text string, changes []string) string {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("student.c has no %q", changes[i])
		}
		text = strings.ReplaceAll(text, changes[i], changes[i+1])
	}
	return text
}

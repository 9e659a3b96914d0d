package web

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mito/engine/internal/chromium"
	"mito/engine/internal/testmodels"
	"mito/engine/student"
	"mito/engine/tokenizer"
)

var browse = flag.Bool("browser", false, "open pages in a headless Chromium, which has to be installed; half a minute")

// tab is a page in a browser.
type tab struct {
	*chromium.Browser
	t   *testing.T
	ctx context.Context
	dir string
	n   int
}

func newTab(t *testing.T) *tab {
	t.Helper()
	if !*browse {
		t.Skip("-browser opens the page in Chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	b, err := chromium.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return &tab{Browser: b, t: t, ctx: ctx, dir: t.TempDir()}
}

// show writes a page to the disk, opens it with a fragment such as "#scalar", and returns what it says of its digest.
func (b *tab) show(page []byte, fragment string) (state, says string) {
	b.t.Helper()
	b.n++
	path := filepath.Join(b.dir, "seite ü "+strconv.Itoa(b.n)+".html")
	if err := os.WriteFile(path, page, 0o666); err != nil {
		b.t.Fatal(err)
	}
	if err := b.Navigate(b.ctx, address(path)+fragment); err != nil {
		b.t.Fatal(err)
	}
	state, says, err := settled(b.ctx, b.Browser)
	if err != nil {
		b.t.Fatal(err)
	}
	return state, says
}

// shown is show of a student, whose digest must be right.
func (b *tab) shown(w *student.Weights, tok tokenizer.Tokenizer, task, fragment string) {
	b.t.Helper()
	digest := digestOf(b.t, w)
	page, err := Write(w, tok, Options{Title: "a student", Task: task, Digest: digest})
	if err != nil {
		b.t.Fatal(err)
	}
	if state, says := b.show(page, fragment); state != "good" || !strings.Contains(says, digest) {
		b.t.Fatalf("%s: %s, want the digest %s", state, says, digest)
	}
}

// evaluated evaluates an expression of JavaScript.
func evaluated[T any](b *tab, expression string) (v T) {
	b.t.Helper()
	if err := b.Evaluate(b.ctx, expression, &v); err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func quoted(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // of a string or a number
	}
	return string(text)
}

func digestOf(t *testing.T, w *student.Weights) string {
	t.Helper()
	m, err := student.New(w, student.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d, err := student.Digest(m, student.DigestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The browser computes the digest of every part that a model may have, with SIMD and without.
func TestDigestsInChromium(t *testing.T) {
	b := newTab(t)
	all := shapes()
	for i, name := range slices.Sorted(maps.Keys(all)) {
		c := all[name]
		w := random(t, c, i%2 == 0)
		for fragment, vector := range map[string]bool{"": true, "#scalar": false} {
			b.shown(w, letters(t, c.VocabSize), "", fragment)
			if got := evaluated[bool](b, "student.vector"); got != vector {
				t.Errorf("%s%s: with SIMD: %v", name, fragment, got)
			}
		}
	}
}

// A page whose weights, or whose digest, are not those that were tested runs nothing.
func TestDamageInChromium(t *testing.T) {
	b := newTab(t)
	w := random(t, testmodels.Edge(), false)
	tok, digest := letters(t, 37), digestOf(t, w)
	w.Layers[1].Down.Q[5]++
	page, err := Write(w, tok, Options{Digest: digest})
	if err != nil {
		t.Fatal(err)
	}
	if state, says := b.show(page, ""); state != "bad" || !strings.Contains(says, "nothing is run") || !evaluated[bool](b, "$('go').disabled") {
		t.Errorf("another weight: %s, %s", state, says)
	}
}

// The page asks for nothing but itself, and could not: what it tries does not leave the browser.
func TestOfflineInChromium(t *testing.T) {
	b := newTab(t)
	server := listen(t)
	b.shown(random(t, testmodels.Edge(), false), letters(t, 37), "", "")
	for _, e := range b.Events("Network.requestWillBeSent") {
		var r struct{ Request struct{ URL string } }
		if err := json.Unmarshal(e.Params, &r); err != nil {
			t.Fatal(err)
		}
		if u := r.Request.URL; !strings.HasPrefix(u, "file://") && !strings.HasPrefix(u, "data:") {
			t.Errorf("the page asked for %s", u)
		}
	}
	for _, e := range b.Events("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled") {
		t.Errorf("the page complains: %s", e.Params)
	}
	const try = `(async url => {
		const image = new Image();
		const failed = new Promise(done => { image.onerror = () => done(true); image.onload = () => done(false); });
		image.src = url;
		const fetched = await fetch(url, { mode: 'no-cors' }).then(() => false, () => true);
		return fetched && await failed;
	})`
	if !evaluated[bool](b, try+"("+quoted(server.url)+")") || server.asked() > 0 {
		t.Errorf("a request left the page, %d times", server.asked())
	}
	// The same page without its policy: the trial notices it.
	page, err := build("", facts{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	open := strings.Replace(string(page), "Content-Security-Policy", "Nothing", 1)
	b.show([]byte(open), "")
	evaluated[bool](b, try+"("+quoted(server.url)+")")
	if server.asked() == 0 {
		t.Error("without its policy no request came either: the trial shows nothing")
	}
}

// Controls have names, nothing is wider than a telephone, and colours can be read in light and dark.
func TestAccessibleInChromium(t *testing.T) {
	b := newTab(t)
	game := randomGame(t, "connect4", "")
	b.shown(game.w, game.tok, "connect4", "")
	evaluated[any](b, "document.getElementById('text').open = true")
	var tree struct {
		Nodes []struct {
			Role, Name struct{ Value any }
			Ignored    bool
		}
	}
	if err := b.Call(b.ctx, "Accessibility.getFullAXTree", nil, &tree); err != nil {
		t.Fatal(err)
	}
	named := map[string]int{}
	for _, n := range tree.Nodes {
		role, _ := n.Role.Value.(string)
		if name, _ := n.Name.Value.(string); slices.Contains([]string{"button", "textbox", "spinbutton"}, role) && !n.Ignored {
			if name == "" {
				t.Errorf("a %s has no name", role)
			}
			named[role]++
		}
	}
	if named["button"] < 42+4 || named["textbox"] != 2 || named["spinbutton"] != 5 {
		t.Errorf("controls: %v", named)
	}
	size := map[string]any{"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": false}
	if err := b.Call(b.ctx, "Emulation.setDeviceMetricsOverride", size, nil); err != nil {
		t.Fatal(err)
	}
	if wide := evaluated[int](b, "document.documentElement.scrollWidth"); wide > 320 {
		t.Errorf("on a width of 320 the page takes %d", wide)
	}
	for _, scheme := range []string{"light", "dark"} {
		media := map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}
		if err := b.Call(b.ctx, "Emulation.setEmulatedMedia", media, nil); err != nil {
			t.Fatal(err)
		}
		for _, x := range evaluated[[]contrast](b, contrasts) {
			if x.Ratio < 4.5 {
				t.Errorf("%s: %s on %s has a contrast of %.2f, less than 4.5", scheme, x.Ink, x.On, x.Ratio)
			}
		}
	}
}

type contrast struct {
	Ink, On string
	Ratio   float64
}

// contrasts computes WCAG 2's contrast of every colour on what it stands on.
const contrasts = `(() => {
	const style = getComputedStyle(document.documentElement);
	const luminance = name => {
		let v = style.getPropertyValue(name).trim().slice(1);
		if (v.length === 3) v = [...v].map(c => c + c).join('');
		const [r, g, b] = [0, 2, 4].map(i => parseInt(v.slice(i, i + 2), 16) / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const pairs = [['--on', '--accent']];
	for (const ink of ['--ink', '--soft', '--accent', '--good', '--bad', '--other']) for (const on of ['--page', '--card']) pairs.push([ink, on]);
	return pairs.map(([Ink, On]) => {
		const [low, high] = [luminance(Ink), luminance(On)].sort((a, b) => a - b);
		return { Ink, On, Ratio: (high + 0.05) / (low + 0.05) };
	});
})()`

// Open says what --check says.
func TestOpenInChromium(t *testing.T) {
	b := newTab(t)
	w := random(t, shapes()["gpt2"], false)
	digest := digestOf(t, w)
	for want, says := range map[string]string{digest: "says: ✓", strings.Repeat("0", 64): "computes other bits"} {
		page, err := Write(w, letters(t, 37), Options{Digest: want})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(b.dir, "page.html")
		if err := os.WriteFile(path, page, 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := Open(b.ctx, path)
		if (err == nil) != (want == digest) || !strings.Contains(got.Says+errorText(err), says) || got.Browser == "" {
			t.Errorf("%+v, %v, want %q", got, err, says)
		}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := Open(ctx, "page.html"); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

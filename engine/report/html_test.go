package report

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mito/engine/internal/chromium"
)

var browser = flag.Bool("browser", false, "open report.html in a headless Chromium, which has to be installed")

// shownReport is a report with all that the page shows.
func shownReport(t *testing.T) (*Report, []Series) {
	t.Helper()
	r := sample(t)
	r.Replays = []Replay{
		{Name: "compressed against random, moving first: won", Cols: 3, Frames: []Frame{
			{Cells: "         ", By: "model", Move: "4"}, {Cells: "    x    ", By: "opponent", Move: "0"}, {Cells: "o   x    "},
		}},
		{Name: "a board: solved", Cols: 3, Frames: []Frame{{Cells: "1234567 8", By: "model", Move: "R"}, {Cells: "12345678 "}}},
		{Name: "a task without a board", Frames: []Frame{{Cells: "lights on =", By: "model", Move: "on"}, {Cells: "done"}}},
	}
	r.Samples = []Sample{{Name: "student", Prompt: "Once", Text: " upon a <time>", How: "temperature 0.8, seed 1"}}
	curves := []Series{
		{Name: "teacher", Points: []Point{{0, 4}, {100, 2}, {200, 1.5}}, Train: []Point{{1, 4.1}, {150, math.NaN()}, {200, 1.4}}},
		{Name: "student", Points: []Point{{100, 3}}},
	}
	return r, curves
}

func html(t *testing.T, r *Report, curves []Series) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteHTML(&b, curves); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The page holds all of the report and asks for nothing.
func TestHTML(t *testing.T) {
	r, curves := shownReport(t)
	page := html(t, r, curves)
	for _, want := range []string{
		"<title>mito: tictactoe</title>", "1,234,567", "student trained alone", "12/5/3 of 20 | 95%", " upon a &lt;time&gt;", "mito pipeline --task tictactoe --seed 1",
		"student.train.lr", "default-src &#39;none&#39;", "Loss against bytes", "Loss against speed", "Loss over the steps", "(disturbed)",
	} {
		if !strings.Contains(page, want) && !strings.Contains(page, strings.ReplaceAll(want, "&#39;", "'")) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, bad := range []string{"http:", "https:", "NaN", "+Inf", "src=\"", "@import", "ZgotmplZ"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	// A ring for every candidate of the front that a picture draws: both of them know bytes, only two candidates have a speed.
	if got, want := strings.Count(page, `class="ring"`), 4; got != want {
		t.Errorf("%d rings, want %d", got, want)
	}
}

// Nothing that a report says becomes part of the page, and an empty one is a page too.
func TestHTMLCannotBeBroken(t *testing.T) {
	r, curves := shownReport(t)
	const evil = `</script><img src=x onerror=alert(1)>"'{{.}}`
	r.Task, r.Notes, r.Command, r.Version, r.Machine = evil, []string{evil}, evil, evil, evil
	r.Candidates[0].Name, r.Candidates[0].Dir, r.Rows[0].Name = evil, evil, evil
	r.Replays[0].Name, r.Replays[2].Frames[0].Cells = evil, evil
	r.Samples[0].Text, curves[0].Name = evil, evil
	page := html(t, r, curves)
	if n := strings.Count(page, "</script>"); n != 1 || strings.Contains(page, "<img") {
		t.Errorf("%d ends of scripts", n)
	}
	r = &Report{Compressed: Compressed{Model: Model{Params: 1, LossNats: NotMeasured, BitsPerByte: NotMeasured}}}
	r.Speed.Compressed = NotMeasured
	if page := html(t, r, nil); !strings.Contains(page, "</html>") || strings.Contains(page, "<svg") {
		t.Error("an empty report is no page without pictures")
	}
	r.Settings = map[string]any{"f": func() {}}
	if err := r.WriteHTML(&bytes.Buffer{}, nil); err == nil {
		t.Error("a function as a setting")
	}
}

// What is drawn lies inside the picture, wherever the numbers do, and the line of a picture goes through what none is better than.
func TestCharts(t *testing.T) {
	number := regexp.MustCompile(`-?[0-9.]+`)
	for _, far := range []float64{1e-7, 1, 3, 1e5, 1e15} {
		curves := []Series{{Name: "a", Points: []Point{{1, far}, {2, 2 * far}, {3, math.Inf(1)}}}, {Name: "b", Train: []Point{{5, 1}}}}
		c := lossChart(curves)
		for _, l := range c.Lines {
			for i, text := range number.FindAllString(l.Points, -1) {
				var v float64
				if _, err := fmt.Sscan(text, &v); err != nil || v < 0 || i%2 == 0 && v > chartWidth || i%2 == 1 && v > chartHeight {
					t.Errorf("losses about %g: the line %q leaves the picture", far, l.Points)
				}
			}
		}
		if n := len(c.YTicks); n < 1 || n > 7 {
			t.Errorf("losses about %g: %d ticks", far, n)
		}
	}
	xs, ys := []float64{1, 2, 3, 4, 2}, []float64{5, 3, 4, 1, 3}
	if got := fmt.Sprint(frontier(xs, ys, true)); got != "[{1 5} {2 3} {4 1}]" {
		t.Errorf("front %s", got)
	}
	if got := fmt.Sprint(frontier(xs, ys, false)); got != "[{4 1}]" {
		t.Errorf("front %s where more is better", got)
	}
	for v, want := range map[float64]string{0.25: "0.25", 12: "12", 63856: "63.86K", 4938268: "4.938M", 2e9: "2G"} {
		if got := short(v); got != want {
			t.Errorf("%g is %q, want %q", v, got, want)
		}
	}
	if lossChart(nil) != nil || (&Report{}).paretoChart("", "", func(*Candidate) Number { return 1 }, true) != nil {
		t.Error("pictures of nothing")
	}
}

// clicks steps through the games by their buttons and gives what the board shows after each.
const clicks = `(() => {
  const find = id => document.getElementById(id), said = [], sides = [];
  const cells = () => said.push(find("board").classList.contains("text") ? find("board").textContent : [...find("board").children].map(c => "xo".split("").find(k => c.classList.contains(k)) || c.textContent.trim() || "-").join(""));
  for (const g of find("game").options) {
    find("game").value = g.value;
    find("game").dispatchEvent(new Event("change"));
    sides.push(!find("sides").hidden);
    cells();
    while (!find("next").disabled) { find("next").click(); cells(); }
    find("back").click(); cells();
    find("first").click(); cells();
    find("replays").dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"})); cells();
    find("last").click(); cells();
  }
  return {said, sides, ready: document.documentElement.dataset.ready, wide: document.documentElement.scrollWidth > innerWidth, status: find("status").textContent};
})()`

// The page runs in a real browser: its script has no error, the board replays what the report says, no request leaves it, and it is no
// wider than the window.
func TestHTMLInChromium(t *testing.T) {
	if !*browser {
		t.Skip("-browser opens the page in Chromium")
	}
	r, curves := shownReport(t)
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(html(t, r, curves)), 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b, err := chromium.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Navigate(ctx, "file://"+path); err != nil {
		t.Fatal(err)
	}
	const loaded = `new Promise(done => document.readyState === "complete" ? done() : addEventListener("load", () => done()))`
	var got struct {
		Said          []string
		Sides         []bool // is it said whose the stones are?
		Ready, Status string
		Wide          bool
	}
	if err := b.Evaluate(ctx, loaded, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Evaluate(ctx, clicks, &got); err != nil {
		t.Fatal(err)
	}
	for _, e := range b.Events("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled") {
		t.Errorf("the page complains: %s", e.Params)
	}
	if n := len(b.Events("Network.requestWillBeSent")); n != 1 {
		t.Errorf("%d requests, want that of the page alone", n)
	}
	var want []string
	for _, g := range r.Replays {
		at := func(i int) string {
			if g.Cols > 0 {
				return strings.ReplaceAll(g.Frames[i].Cells, " ", "-")
			}
			return g.Frames[i].Cells
		}
		last := len(g.Frames) - 1
		for i := range g.Frames {
			want = append(want, at(i))
		}
		want = append(want, at(last-1), at(0), at(1), at(last))
	}
	if !slices.Equal(got.Said, want) {
		t.Errorf("the board showed %q, want %q", got.Said, want)
	}
	if !slices.Equal(got.Sides, []bool{true, false, false}) {
		t.Errorf("whose the stones are is said: %v, want of the first game only", got.Sides)
	}
	if got.Ready != "3" || got.Wide || got.Status != "Position 2 of 2: the end." {
		t.Errorf("%+v", got)
	}
}

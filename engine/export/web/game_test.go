package web

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"mito/engine/arch"
	"mito/engine/decode"
	"mito/engine/eval"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// gameModel is a student that plays a game by chance.
type gameModel struct {
	task task.Task
	w    *student.Weights
	tok  tokenizer.Tokenizer
}

func randomGame(t *testing.T, name, format string) gameModel {
	t.Helper()
	game, err := task.New(name, task.Options{Format: format, Positions: 10, Depth: map[string]int{"connect4": 1, "othello": 1}[name]})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.NewChars(game.Alphabet())
	if err != nil {
		t.Fatal(err)
	}
	w := random(t, shape(func(c *arch.Config) { c.VocabSize, c.Context, c.QKNorm = tok.VocabSize(), 64, true }), false)
	return gameModel{game, w, tok}
}

// player is the model in mito's runtime.
func (g gameModel) player(t *testing.T) task.Player {
	t.Helper()
	r, err := decode.NewInt8(g.w, g.tok, decode.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	p, err := eval.NewPlayer(t.Context(), r, 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// question is what the model was asked: a prompt, the legal answers, and the one it gave.
type question struct {
	Prompt string
	Legal  []string
	Answer string
}

// check wants the prompt to be a position, its best answers and those of the rules among the legal ones, and the answer of mito's runtime.
func (g gameModel) check(t *testing.T, p task.Player, q question) {
	t.Helper()
	best, err := g.task.Solve(q.Prompt)
	if err != nil {
		t.Errorf("the model was asked what is no position: %v", err)
		return
	}
	if name := g.task.Name(); name != "puzzle8" { // which leaves out boards that were entered
		for _, a := range best {
			if !slices.Contains(q.Legal, a) {
				t.Errorf("%s: of %q, %s is legal and not among %q", name, q.Prompt, a, q.Legal)
			}
		}
	}
	if g.task.Name() == "othello" {
		checkTurns(t, q)
	}
	rules, _ := task.Rules(g.task.Name()) // othello has none
	for _, a := range q.Legal {
		ruled := func(r task.Rule) bool { return q.Prompt[r.At] == r.Is && strings.HasSuffix(a, string(r.Answer)) }
		if rules != nil && !strings.HasPrefix(q.Prompt, "▶") && !slices.ContainsFunc(rules, ruled) {
			t.Errorf("%s: of %q, %s is not legal", g.task.Name(), q.Prompt, a)
		}
	}
	choices, err := p.Choose([]string{q.Prompt}, [][]string{q.Legal})
	if err != nil {
		t.Fatal(err)
	}
	if choices[0].Answer != q.Answer {
		t.Errorf("%s: %q is answered with %s, mito's runtime says %s", g.task.Name(), q.Prompt, q.Answer, choices[0].Answer)
	}
}

// checkTurns wants the legal answers to be the cells from which a stone encloses others, and no other.
func checkTurns(t *testing.T, q question) {
	t.Helper()
	board, err := task.BoardOf("othello", "")
	if err != nil {
		t.Fatal(err)
	}
	at, prompt := map[[2]int]int{}, []rune(q.Prompt)
	for i, c := range board.Cells {
		at[[2]int{c.Row, c.Col}] = 1 + slices.Index([]rune(c.Chars), prompt[i]) // 1 free, 2 own, 3 the other side's
	}
	for _, c := range board.Cells {
		turns := false
		for d := range 9 {
			r, k, n := c.Row, c.Col, 0
			for {
				if r, k = r+d/3-1, k+d%3-1; at[[2]int{r, k}] != 3 || d == 4 {
					break
				}
				n++
			}
			turns = turns || n > 0 && at[[2]int{r, k}] == 2
		}
		free := []rune(c.Chars)[0]
		if legal := turns && at[[2]int{c.Row, c.Col}] == 1; legal != slices.Contains(q.Legal, string(free)) {
			t.Errorf("othello: of %q, %q is legal: %v, the page says otherwise", q.Prompt, free, legal)
		}
	}
}

// played is what happened on the board.
type played struct {
	Asked    []question
	Verdicts []string
	Record   string
}

// playing presses cells that the board offers, by chance, until so many games have ended; it listens to what the model is asked.
const playing = `(async games => {
	const asked = [], verdicts = [], choose = student.choose;
	student.choose = (Prompt, Legal) => { const Answer = choose.call(student, Prompt, Legal); asked.push({ Prompt, Legal, Answer }); return Answer; };
	for (let n = 0; n < games; n++) {
		const buttons = $('game-buttons').children;
		buttons[n % (stones ? 2 : 1)].click();
		for (let i = 0; i < (stones ? 100 : 20) && !over; i++) {
			if (stones) {
				const free = [...document.querySelectorAll('#board button[aria-disabled=false]')];
				free[Math.floor(Math.random() * free.length)].click();
			} else {
				buttons[1].click();
			}
		}
		const line = [...document.querySelectorAll('#board .line')].length;
		verdicts.push($('turn').textContent + (game.line && line >= game.line ? ' a line' : ''));
	}
	student.choose = choose;
	return { Asked: asked, Verdicts: verdicts, Record: $('record').textContent };
})`

// Games are played on the board to their end, in every format: every position that the model is asked is one of the game, the legal
// answers are the game's, and the answer is that of mito's runtime.
func TestGamesInChromium(t *testing.T) {
	b := newTab(t)
	for _, name := range task.Names() {
		if _, err := task.BoardOf(name, ""); err != nil {
			continue
		}
		for _, format := range append([]string{""}, task.Formats(name)...) {
			g := randomGame(t, name, format)
			b.shown(g.w, g.tok, name, "")
			got, p := evaluated[played](b, playing+"(6)"), g.player(t)
			if len(got.Asked) < 12 {
				t.Errorf("%s %s: the model was asked %d times", name, format, len(got.Asked))
			}
			for _, q := range got.Asked {
				g.check(t, p, q)
			}
			for _, v := range got.Verdicts {
				ended := map[string]string{"puzzle8": `^\d+ moves`, "othello": `^(You won|The model won|Drawn), \d+ to \d+\.$`}[name]
				if ended == "" {
					ended = `^(You won\. a line|The model won\. a line|Drawn\.)$`
				}
				if !regexp.MustCompile(ended).MatchString(v) {
					t.Errorf("%s %s: a game ends with %q", name, format, v)
				}
			}
			if name != "puzzle8" && got.Record == "" {
				t.Errorf("%s %s: no games are counted", name, format)
			}
		}
	}
}

// A puzzle whose model was on every board that is next goes on when a tile is slid, and its buttons come back where the model fails.
func TestPuzzleInChromium(t *testing.T) {
	b := newTab(t)
	g := randomGame(t, "puzzle8", "")
	b.shown(g.w, g.tok, "puzzle8", "")
	const slide = `(() => {
	$('game-buttons').children[0].click();
	stuck = true;
	press(game.cells.findIndex((_, i) => legal(i)));
	return $('turn').textContent;
})()`
	if says := evaluated[string](b, slide); says != "1 moves." {
		t.Errorf("after a tile was slid: %q", says)
	}
	const fail = `(async () => {
	const choose = student.choose;
	let failed = '';
	student.choose = () => { throw new Error('no answer'); };
	await solve().catch(e => failed = e.message);
	student.choose = choose;
	return failed + ', ' + $('go').disabled;
})()`
	if says := evaluated[string](b, fail); says != "no answer, false" {
		t.Errorf("after the model failed: %q", says)
	}
}

// listener counts requests.
type listener struct {
	url string
	n   atomic.Int64
}

func (l *listener) asked() int64 { return l.n.Load() }

func listen(t *testing.T) *listener {
	t.Helper()
	l := &listener{}
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { l.n.Add(1) }))
	t.Cleanup(server.Close)
	l.url = server.URL
	return l
}

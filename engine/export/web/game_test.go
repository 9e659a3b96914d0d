package web

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"mito/engine/arch"
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

func randomGame(t *testing.T, name string) gameModel {
	t.Helper()
	game, err := task.New(name, task.Options{Positions: 10, Depth: map[bool]int{true: 1}[name == "connect4"]})
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

// answer is the most probable of the legal answers.
func (g gameModel) answer(t *testing.T, prompt string) string {
	t.Helper()
	rules, err := task.Rules(g.task.Name())
	if err != nil {
		t.Fatal(err)
	}
	m, err := student.New(g.w, student.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.NewSession(1)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := g.tok.Encode(prompt)
	if err != nil {
		t.Fatal(err)
	}
	var logits [][]float32
	for _, id := range ids {
		if logits, err = s.Step([]int32{id}); err != nil {
			t.Fatal(err)
		}
	}
	best, answer := float32(0), ""
	for id, x := range logits[0] {
		piece, err := g.tok.AppendToken(nil, int32(id))
		if err != nil {
			t.Fatal(err)
		}
		legal := slices.ContainsFunc(rules, func(r task.Rule) bool { return prompt[r.At] == r.Is && string(r.Answer) == string(piece) })
		if legal && (answer == "" || x > best) {
			best, answer = x, string(piece)
		}
	}
	return answer
}

// played is what happened on the board.
type played struct {
	Asked    [][2]string // prompts, and what the model answered
	Verdicts []string
	Record   string
}

// playing presses cells that the board offers, by chance, until so many games have ended; it listens to what the model is asked.
const playing = `(async games => {
	const asked = [], verdicts = [], play = student.play;
	student.play = prompt => { const answer = play.call(student, prompt); asked.push([prompt, answer]); return answer; };
	for (let n = 0; n < games; n++) {
		const buttons = $('game-buttons').children;
		buttons[n % (game.line ? 2 : 1)].click();
		for (let i = 0; i < (game.line ? 100 : 20) && !over; i++) {
			if (game.line) {
				const free = [...document.querySelectorAll('#board button[aria-disabled=false]')];
				free[Math.floor(Math.random() * free.length)].click();
			} else {
				buttons[1].click();
			}
		}
		const stones = [...document.querySelectorAll('#board .line')].length;
		verdicts.push($('turn').textContent + (game.line && stones >= game.line ? ' a line' : ''));
	}
	student.play = play;
	return { Asked: asked, Verdicts: verdicts, Record: $('record').textContent };
})`

// Games are played on the board to their end: every position that the model is asked is one of the game, every answer is legal and the
// one that mito's runtime gives.
func TestGamesInChromium(t *testing.T) {
	b := newTab(t)
	for _, name := range task.Names() {
		if _, err := task.BoardOf(name); err != nil {
			continue
		}
		g := randomGame(t, name)
		b.shown(g.w, g.tok, name, "")
		got := eval[played](b, playing+"(6)")
		if len(got.Asked) < 12 {
			t.Errorf("%s: the model was asked %d times", name, len(got.Asked))
		}
		for _, x := range got.Asked {
			if _, err := g.task.Solve(x[0]); err != nil {
				t.Errorf("%s: the model was asked what is no position: %v", name, err)
			} else if want := g.answer(t, x[0]); x[1] != want {
				t.Errorf("%s: %q is answered with %s, mito's runtime says %s", name, x[0], x[1], want)
			}
		}
		for _, v := range got.Verdicts {
			won := v == "You won. a line" || v == "The model won. a line"
			if name != "puzzle8" && !won && v != "Drawn." || name == "puzzle8" && !strings.Contains(v, " moves") {
				t.Errorf("%s: a game ends with %q", name, v)
			}
		}
		if name != "puzzle8" && got.Record == "" {
			t.Errorf("%s: no games are counted", name)
		}
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

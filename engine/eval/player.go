package eval

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"mito/engine/decode"
	"mito/engine/grammar"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

// maxRemembered bounds the answers that a player keeps. At some hundred bytes each they stay a few dozen MiB.
const maxRemembered = 1 << 17

// player implements task.Player.
type player struct {
	ctx     context.Context // task.Player has none, and one call may ask for a thousand games
	mu      sync.Mutex
	r       decode.Runtime
	tok     tokenizer.Tokenizer
	session decode.Session
	vocab   *grammar.Vocabulary
	forms   map[string]*grammar.Masks // of legal answers, one behind the other
	lists   map[string]int            // numbers of the lists of legal answers
	listed  int                       // the last of them
	known   map[string]task.Choice    // by prompt and number of legal answers: the model always answers alike
	rated   map[string]rating         // by prompt
	key     []byte
	step    []int32 // by sequence
	ends    bool    // answers are whole only with the end-of-text token
}

// maxForms bounds the sets of legal answers that a player keeps masks of.
const maxForms = 1 << 12

// NewPlayer returns a player that reads the prompt and writes a legal answer: a grammar of those that are legal lets it take the largest
// of the logits that keep to them (the first of equal ones in the vocabulary), token by token. OwnLegal says whether that was the
// largest of the whole vocabulary every time. The prompts of a call run in batches of the given size, each distinct one once, and answers are
// remembered over calls. The player is safe for concurrent use; it plays until ctx is done. Errors: decode.ErrNoTokenizer, those of NewSession; Choose fails
// with ctx's error, *AnswerError, decode.ErrContextFull, decode.ErrNotFinite and the tokenizer's errors.
func NewPlayer(ctx context.Context, r decode.Runtime, batch int) (task.Player, error) {
	if r.Tokenizer() == nil {
		return nil, decode.ErrNoTokenizer
	}
	s, err := r.NewSession(batch)
	if err != nil {
		return nil, err
	}
	v, err := decode.Vocabulary(r.Tokenizer())
	if err != nil {
		return nil, err
	}
	return &player{
		ctx: ctx, r: r, tok: r.Tokenizer(), session: s, vocab: v, forms: map[string]*grammar.Masks{}, known: map[string]task.Choice{}, rated: map[string]rating{},
		lists: map[string]int{},
		step:  make([]int32, batch),
	}, nil
}

// NewWriter returns a player whose answers the end-of-text token ends: of a legal answer that no other begins with, OwnLegal says too
// whether the model would have ended it there. It writes freely as well, up to that token or to the end of the model's context. Errors: those
// of NewPlayer; *AnswerError where the tokenizer has no such token.
func NewWriter(ctx context.Context, r decode.Runtime, batch int) (task.Writer, error) {
	p, err := NewPlayer(ctx, r, batch)
	if err != nil {
		return nil, err
	}
	w := p.(*player)
	if w.ends = true; w.tok.EOS() < 0 {
		return nil, &AnswerError{Answer: "of any length", What: "needs an end-of-text token, which the tokenizer has not"}
	}
	return w, nil
}

// AnswerError reports a prompt without legal answers, or an answer that this model cannot give.
type AnswerError struct{ Prompt, Answer, What string }

func (e *AnswerError) Error() string {
	if e.Answer == "" {
		return fmt.Sprintf("prompt %q has no legal answer", e.Prompt)
	}
	return fmt.Sprintf("answer %q %s: this model cannot play the task", e.Answer, e.What)
}

// question is a prompt that the model has to be asked.
type question struct {
	key    string
	prompt []int32
	form   *grammar.Masks
	at     *grammar.State // of the answer
	answer []byte
	left   int  // tokens that the answer may still take, without the end-of-text token; below 0 for any number
	own    bool // every token so far was the model's own choice
}

func (p *player) Choose(prompts []string, legal [][]string) ([]task.Choice, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(legal) != len(prompts) {
		return nil, fmt.Errorf("%d prompts and %d lists of legal answers", len(prompts), len(legal))
	}
	out := make([]task.Choice, len(prompts))
	var open []question
	places := map[string][]int{} // of the prompts that are not known yet
	for i := range prompts {
		p.key = p.appendQuestion(p.key[:0], prompts[i], legal[i])
		if c, ok := p.known[string(p.key)]; ok {
			out[i] = c
			continue
		}
		if at, ok := places[string(p.key)]; ok {
			places[string(p.key)] = append(at, i)
			continue
		}
		q, err := p.question(prompts[i], legal[i])
		if err != nil {
			return nil, err
		}
		places[q.key] = []int{i}
		open = append(open, q)
	}
	for batch := p.session.Batch(); len(open) > 0; open = open[min(batch, len(open)):] {
		if err := p.ctx.Err(); err != nil {
			return nil, err
		}
		now := open[:min(batch, len(open))]
		if err := p.ask(now, func(q *question, c task.Choice) {
			if len(p.known) >= maxRemembered {
				clear(p.known)
			}
			p.known[q.key] = c
			for _, i := range places[q.key] {
				out[i] = c
			}
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// appendQuestion makes a prompt and its legal answers one short string.
func (p *player) appendQuestion(key []byte, prompt string, legal []string) []byte {
	list := string(appendKey(nil, "", legal))
	n, ok := p.lists[list]
	if !ok {
		if len(p.lists) >= maxForms {
			clear(p.lists)
		}
		p.listed++
		n = p.listed
		p.lists[list] = n
	}
	return fmt.Appendf(key, "%d:%s", n, prompt)
}

// appendKey makes a prompt and its legal answers one string; the lengths keep different ones apart.
func appendKey(key []byte, prompt string, legal []string) []byte {
	key = fmt.Appendf(key, "%d:%s", len(prompt), prompt)
	for _, a := range legal {
		key = fmt.Appendf(key, "%d:%s", len(a), a)
	}
	return key
}

func (p *player) question(prompt string, legal []string) (question, error) {
	if len(legal) == 0 {
		return question{}, &AnswerError{Prompt: prompt}
	}
	q := question{key: string(p.key), own: true}
	var err error
	if q.prompt, err = tokenizer.Prompt(p.tok, prompt); err != nil {
		return q, fmt.Errorf("prompt %q: %w", prompt, err)
	}
	if len(q.prompt) == 0 {
		return q, decode.ErrEmptyPrompt
	}
	if q.form, err = p.form(prompt, legal); err != nil {
		return q, err
	}
	if q.left = -1; p.ends {
		q.left = p.r.Context() - len(q.prompt)
		if err := q.form.Check(q.left); q.left < 0 || err != nil {
			return q, fmt.Errorf("prompt %q takes %d tokens of the model's %d, which leaves no room for an answer", prompt, len(q.prompt), p.r.Context())
		}
	}
	q.at = q.form.Start()
	return q, nil
}

// form gives the masks of legal answers.
func (p *player) form(prompt string, legal []string) (*grammar.Masks, error) {
	key := string(appendKey(nil, "", legal))
	if m, ok := p.forms[key]; ok {
		return m, nil
	}
	for _, a := range legal {
		if _, err := p.tok.Encode(a); err != nil {
			return nil, fmt.Errorf("answer %q: %w", a, err)
		}
		for _, b := range legal {
			if p.tok.EOS() < 0 && a != b && strings.HasPrefix(b, a) {
				return nil, &AnswerError{prompt, a, fmt.Sprintf("begins %q too, and the tokenizer has no token to end it", b)}
			}
		}
	}
	g, err := grammar.Choices(legal)
	if err != nil {
		return nil, fmt.Errorf("prompt %q: %w", prompt, err)
	}
	m, err := g.Bind(p.vocab)
	if err != nil {
		return nil, err
	}
	if len(p.forms) >= maxForms {
		clear(p.forms)
	}
	p.forms[key] = m
	return m, nil
}

// ask runs up to a batch of questions, until all are answered.
func (p *player) ask(qs []question, use func(*question, task.Choice)) error {
	prompts := make([][]int32, len(qs))
	for i := range qs {
		prompts[i] = qs[i].prompt
	}
	all, err := p.prefill(prompts)
	for open := len(qs); err == nil; all, err = p.session.Step(p.step) {
		for i := range qs {
			if all[i] == nil {
				continue
			}
			id, err := qs[i].choose(all[i])
			if err != nil {
				return err
			}
			p.step[i] = id
			if id == p.tok.EOS() || !p.ends && qs[i].form.Ended(qs[i].at, -1) {
				use(&qs[i], task.Choice{Answer: string(qs[i].answer), OwnLegal: qs[i].own})
				p.step[i] = -1
				open--
			}
		}
		if open == 0 {
			return nil
		}
	}
	return err
}

// prefill reads prompts and stops all sequences.
func (p *player) prefill(prompts [][]int32) ([][]float32, error) {
	p.session.Reset()
	for i := range p.step {
		p.step[i] = -1
	}
	return p.session.PrefillBatch(prompts)
}

// Write implements task.Writer.
func (p *player) Write(prompts []string) ([]task.Written, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]task.Written, len(prompts))
	for batch, from := p.session.Batch(), 0; from < len(prompts); from += batch {
		if err := p.ctx.Err(); err != nil {
			return nil, err
		}
		to := min(from+batch, len(prompts))
		if err := p.write(prompts[from:to], out[from:to]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// write answers up to a batch of prompts with the model's first choices.
func (p *player) write(prompts []string, out []task.Written) error {
	tokens := make([][]int32, len(prompts))
	room := make([]int, len(prompts)) // tokens that can still be read
	text := make([][]byte, len(prompts))
	for i, prompt := range prompts {
		var err error
		if tokens[i], err = tokenizer.Prompt(p.tok, prompt); err != nil {
			return fmt.Errorf("prompt %q: %w", prompt, err)
		}
		if len(tokens[i]) == 0 {
			return decode.ErrEmptyPrompt
		}
		room[i] = p.r.Context() - len(tokens[i])
	}
	all, err := p.prefill(tokens)
	for open := len(prompts); err == nil; all, err = p.session.Step(p.step) {
		for i := range prompts {
			if all[i] == nil {
				continue
			}
			id, err := decode.Largest(all[i], nil)
			if err != nil {
				return err
			}
			out[i].Ended = id == p.tok.EOS()
			if !out[i].Ended {
				if text[i], err = p.tok.AppendToken(text[i], id); err != nil {
					return err
				}
			}
			p.step[i] = id
			if room[i]--; out[i].Ended || room[i] < 0 {
				out[i].Text, p.step[i] = string(text[i]), -1
				open--
			}
		}
		if open == 0 {
			return nil
		}
	}
	return err
}

// choose takes the token with the largest logit of those that keep to a legal answer.
func (q *question) choose(logits []float32) (int32, error) {
	own, err := decode.Largest(logits, nil)
	if err != nil {
		return 0, err
	}
	mask, err := q.form.Within(q.at, q.left)
	if err != nil {
		return 0, err
	}
	id, err := decode.Largest(logits, mask)
	if err != nil {
		return 0, err
	}
	if q.left > 0 {
		q.left--
	}
	q.own = q.own && id == own
	q.at, q.answer = q.form.Next(q.at, id), q.form.Append(q.answer, id)
	return id, nil
}

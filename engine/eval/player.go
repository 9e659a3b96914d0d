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
	known   map[string]task.Choice    // by prompt and legal answers: the model always answers alike
	rated   map[string]rating         // by prompt
	key     []byte
	step    []int32 // by sequence
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
		step: make([]int32, batch),
	}, nil
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
		p.key = appendKey(p.key[:0], prompts[i], legal[i])
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
	p.session.Reset()
	all, err := p.session.PrefillBatch(prompts)
	for i := range p.step {
		p.step[i] = -1
	}
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
			if id == p.tok.EOS() || qs[i].form.Ended(qs[i].at, -1) {
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

// choose takes the token with the largest logit of those that keep to a legal answer.
func (q *question) choose(logits []float32) (int32, error) {
	own, err := decode.Largest(logits, nil)
	if err != nil {
		return 0, err
	}
	mask, err := q.form.Within(q.at, -1)
	if err != nil {
		return 0, err
	}
	id, err := decode.Largest(logits, mask)
	if err != nil {
		return 0, err
	}
	q.own = q.own && id == own
	q.at, q.answer = q.form.Next(q.at, id), q.form.Append(q.answer, id)
	return id, nil
}

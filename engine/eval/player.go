package eval

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"mito/engine/decode"
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
	answers map[string]int32       // ids of legal answers
	known   map[string]task.Choice // by prompt and legal answers: the model always answers alike
	key     []byte
}

// NewPlayer returns a player that reads the prompt and takes the legal answer with the largest logit (the first of equal
// ones in the vocabulary); answers are single tokens. OwnLegal says whether the largest logit of the whole vocabulary is
// that of a legal answer. The prompts of a call run in batches of the given size, each distinct one once, and answers are
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
	return &player{
		ctx: ctx, r: r, tok: r.Tokenizer(), session: s, answers: map[string]int32{}, known: map[string]task.Choice{},
	}, nil
}

// AnswerError reports a legal answer that is not one token of the model, or a prompt without legal answers.
type AnswerError struct {
	Prompt, Answer string
	Tokens         int
}

func (e *AnswerError) Error() string {
	if e.Answer == "" {
		return fmt.Sprintf("prompt %q has no legal answer", e.Prompt)
	}
	return fmt.Sprintf("answer %q takes %d tokens, want 1: this model cannot play the task", e.Answer, e.Tokens)
}

// question is a prompt that the model has to be asked.
type question struct {
	key    string
	prompt []int32
	legal  []string
	ids    []int32
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
	q := question{key: string(p.key), ids: make([]int32, len(legal)), legal: legal}
	var err error
	if q.prompt, err = p.tok.Encode(prompt); err != nil {
		return q, fmt.Errorf("prompt %q: %w", prompt, err)
	}
	if len(q.prompt) == 0 {
		return q, decode.ErrEmptyPrompt
	}
	for i, a := range legal {
		id, ok := p.answers[a]
		if !ok {
			ids, err := p.tok.Encode(a)
			if err != nil {
				return q, fmt.Errorf("answer %q: %w", a, err)
			}
			if len(ids) != 1 {
				return q, &AnswerError{Prompt: prompt, Answer: a, Tokens: len(ids)}
			}
			id = ids[0]
			p.answers[strings.Clone(a)] = id
		}
		q.ids[i] = id
	}
	return q, nil
}

// ask runs up to a batch of questions.
func (p *player) ask(qs []question, use func(*question, task.Choice)) error {
	prompts := make([][]int32, len(qs))
	for i := range qs {
		prompts[i] = qs[i].prompt
	}
	p.session.Reset()
	all, err := p.session.PrefillBatch(prompts)
	if err != nil {
		return err
	}
	for i := range qs {
		c, err := qs[i].choose(all[i])
		if err != nil {
			return err
		}
		use(&qs[i], c)
	}
	return nil
}

// choose takes the legal answer with the largest logit.
func (q *question) choose(logits []float32) (task.Choice, error) {
	own, err := decode.Largest(logits, nil)
	if err != nil {
		return task.Choice{}, err
	}
	best := 0
	var c task.Choice
	for i, id := range q.ids {
		c.OwnLegal = c.OwnLegal || id == own
		if d := logits[id] - logits[q.ids[best]]; d > 0 || d == 0 && id < q.ids[best] {
			best = i
		}
	}
	c.Answer = q.legal[best]
	return c, nil
}

package eval

import (
	"fmt"
	"math"

	"mito/engine/decode"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

var _ task.Rater = (*player)(nil)

// rating is what Rate remembers of a prompt.
type rating struct {
	answers string // run together
	shares  []float64
}

// Rate implements task.Rater: the softmax of the logits of the answers, each of them one token, in float64. Errors: *AnswerError where an
// answer is more than a token, those of Choose.
func (p *player) Rate(prompts, answers []string) ([][]float64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids, key := make([]int32, len(answers)), ""
	for i, a := range answers {
		tokens, err := p.tok.Encode(a)
		if err != nil {
			return nil, fmt.Errorf("answer %q: %w", a, err)
		}
		if len(tokens) != 1 {
			return nil, &AnswerError{Answer: a, What: fmt.Sprintf("is %d tokens, not one", len(tokens))}
		}
		ids[i], key = tokens[0], key+a
	}
	out := make([][]float64, len(prompts))
	places, open := map[string][]int{}, []string(nil) // of the prompts that are not known yet
	for i, prompt := range prompts {
		if r, ok := p.rated[prompt]; ok && r.answers == key {
			out[i] = r.shares
			continue
		}
		if places[prompt] == nil {
			open = append(open, prompt)
		}
		places[prompt] = append(places[prompt], i)
	}
	for batch := p.session.Batch(); len(open) > 0; open = open[min(batch, len(open)):] {
		if err := p.ctx.Err(); err != nil {
			return nil, err
		}
		now := open[:min(batch, len(open))]
		shares, err := p.rate(now, ids)
		if err != nil {
			return nil, err
		}
		if len(p.rated)+len(now) > maxRemembered {
			clear(p.rated)
		}
		for k, prompt := range now {
			p.rated[prompt] = rating{key, shares[k]}
			for _, i := range places[prompt] {
				out[i] = shares[k]
			}
		}
	}
	return out, nil
}

// rate reads up to a batch of prompts.
func (p *player) rate(prompts []string, ids []int32) ([][]float64, error) {
	tokens, err := make([][]int32, len(prompts)), error(nil)
	for i, prompt := range prompts {
		if tokens[i], err = tokenizer.Prompt(p.tok, prompt); err != nil {
			return nil, fmt.Errorf("prompt %q: %w", prompt, err)
		}
		if len(tokens[i]) == 0 {
			return nil, decode.ErrEmptyPrompt
		}
	}
	p.session.Reset()
	all, err := p.session.PrefillBatch(tokens)
	if err != nil {
		return nil, err
	}
	out := make([][]float64, len(prompts))
	for i := range out {
		if out[i], err = shares(all[i], ids); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// shares are the probabilities of some tokens among each other.
func shares(logits []float32, ids []int32) ([]float64, error) {
	if _, err := decode.Largest(logits, nil); err != nil {
		return nil, err
	}
	top, sum := math.Inf(-1), 0.0
	for _, id := range ids {
		top = max(top, float64(logits[id]))
	}
	out := make([]float64, len(ids))
	for i, id := range ids {
		out[i] = math.Exp(float64(logits[id]) - top)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out, nil
}

package decode

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// Confidence says how sure a model was of a text.
type Confidence struct {
	// Probability is that of the text: the product of its tokens' probabilities, among those that were allowed, at the temperature of
	// GenerateOptions.Sure. With a temperature that was fitted (see package eval) a text with probability p is right in a share p of
	// all cases.
	Probability float64 `json:"probability"`
	Entropy     float64 `json:"entropy"` // of a token, mean over the text, in nats
	tokens      int
	log         float64
}

// add takes a token that was drawn.
func (c *Confidence) add(logits []float32, allowed []bool, temperature float64, id int32) {
	top := math.Inf(-1)
	for i, v := range logits {
		if allows(allowed, i) {
			top = max(top, float64(v))
		}
	}
	sum, mean := 0.0, 0.0
	for i, v := range logits {
		if allows(allowed, i) {
			x := (float64(v) - top) / temperature
			if e := math.Exp(x); e > 0 {
				sum += e
				mean += e * x
			}
		}
	}
	c.log += (float64(logits[id])-top)/temperature - math.Log(sum)
	c.Entropy += (math.Log(sum) - mean/sum - c.Entropy) / float64(c.tokens+1)
	c.tokens++
	c.Probability = math.Exp(c.log)
}

// Vote is what several continuations of one prompt have come to.
type Vote struct {
	Generation           // of the majority; without text and tokens where the vote is abstained from
	Votes      int       `json:"votes"`
	Share      float64   `json:"share"` // of the votes that the majority has
	Confidence float64   `json:"confidence"`
	Entropy    float64   `json:"entropy"` // of the texts, by their shares, in nats
	Abstained  bool      `json:"abstained"`
	Texts      []Counted `json:"texts"` // the most votes first
}

// Counted is a text with its votes.
type Counted struct {
	Text       string     `json:"text"`
	Votes      int        `json:"votes"`
	Confidence Confidence `json:"confidence"`
}

// VoteOptions of Generator.Vote.
type VoteOptions struct {
	GenerateOptions
	Votes   int     // continuations, at least 1
	Abstain float64 // least confidence of an answer; 0 answers always
}

// Vote continues a prompt several times and takes the text that most of the continuations agree on (self-consistency, Wang et al.,
// arXiv:2203.11171), the more probable one of several. The prompt is read once. Continuation i is the one that Generate makes with
// the seed Seed+i. Confidence is the probability of the majority's text, as Confidence says; below Abstain there is no answer.
// Errors: *OptionError, those of Generate.
func (g *Generator) Vote(ctx context.Context, prompt string, o VoteOptions) (Vote, error) {
	switch {
	case o.Votes < 1:
		return Vote{}, &OptionError{Option: "votes", Got: o.Votes, Want: "1 or more"}
	case !(o.Abstain >= 0 && o.Abstain <= 1):
		return Vote{}, &OptionError{Option: "abstain", Got: o.Abstain, Want: "0 to 1"}
	}
	if o.Sure == 0 {
		o.Sure = 1
	}
	requests := make([]Request, o.Votes)
	for i := range requests {
		requests[i] = Request{prompt, o.GenerateOptions}
		requests[i].Seed += uint64(i)
	}
	v := Vote{Votes: o.Votes}
	best := map[string]int{} // of a text, its place in Texts
	var first []Generation
	for _, r := range g.GenerateAll(ctx, requests) {
		if r.Err != nil {
			return Vote{}, r.Err
		}
		i, ok := best[r.Text]
		if !ok {
			i = len(v.Texts)
			best[r.Text] = i
			v.Texts = append(v.Texts, Counted{Text: r.Text, Confidence: *r.Confidence})
			first = append(first, r.Generation)
		}
		v.Texts[i].Votes++
	}
	order := make([]int, len(v.Texts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := &v.Texts[a], &v.Texts[b]
		return cmp.Or(cmp.Compare(y.Votes, x.Votes), cmp.Compare(y.Confidence.Probability, x.Confidence.Probability))
	})
	sorted := make([]Counted, len(order))
	for i, j := range order {
		sorted[i] = v.Texts[j]
		p := float64(sorted[i].Votes) / float64(o.Votes)
		v.Entropy -= p * math.Log(p)
	}
	v.Texts, v.Generation = sorted, first[order[0]]
	v.Share = float64(sorted[0].Votes) / float64(o.Votes)
	v.Confidence = sorted[0].Confidence.Probability
	if v.Abstained = v.Confidence < o.Abstain; v.Abstained {
		v.Text, v.Tokens = "", []int32{}
	}
	return v, nil
}

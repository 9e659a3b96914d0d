package bench

import (
	"fmt"
	"time"

	"mito/engine/decode"
	"mito/engine/grammar"
	"mito/engine/tokenizer"
)

// The sizes that decoding is measured at: guesses of a verification, votes on a prompt, and tokens of a transcript.
const (
	guessed        = 4
	votes          = 5
	votePrompt     = 80
	verifiedTokens = 127
)

// letters are the characters of the classes' vocabularies.
const letters = `{}[]":,.0123456789 abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQR`

// addSpeculation compares reading a token and its guesses at once with reading them one by one: the most that speculation can
// bring with perfect guesses that cost nothing. What drafts bring depends on texts; mito generate --draft tells.
func addSpeculation(m *meter, c class) error {
	return eachKind(m, c, func(kind string, r decode.Runtime) error {
		name := fmt.Sprintf("speculation/%s %s, ", c.name, kind)
		at := func(n int) (rate, error) {
			s, err := r.NewSession(1)
			if err != nil {
				return nil, err
			}
			tokens := make([]int32, n)
			length := c.config.Context / (guessed + 1) * (guessed + 1)
			return stretches(length/n, float64(n), func(i int) error {
				if i == 0 {
					s.Reset()
				}
				for j := range tokens {
					tokens[j] = int32((7*(i*n+j) + 1) % c.config.VocabSize)
				}
				return s.Score(0, tokens, func(int, []float32) error { return nil })
			}), nil
		}
		one, err := at(1)
		if err != nil {
			return err
		}
		many, err := at(guessed + 1)
		if err != nil {
			return err
		}
		a := m.hidden(Result{Name: name + "guesses verified", Unit: unitTokens, Threads: 1}, many, nil)
		b := m.hidden(Result{Name: name + "one by one", Unit: unitTokens, Threads: 1}, one, nil)
		m.combine(Result{Name: fmt.Sprintf("%s%d perfect guesses a pass against one token", name, guessed), Unit: unitTimes, Threads: 1}, a, b, divide)
		return nil
	})
}

// addTranscript compares verifying a text in one pass with making it.
func addTranscript(m *meter, c class) error {
	return eachKind(m, c, func(kind string, r decode.Runtime) error {
		s, err := r.NewSession(1)
		if err != nil {
			return err
		}
		tokens := make([]int32, verifiedTokens)
		for i := range tokens {
			tokens[i] = int32((7*i + 1) % c.config.VocabSize)
		}
		name := fmt.Sprintf("transcript/%s %s, ", c.name, kind)
		whole := rateOf(verifiedTokens, func() error {
			s.Reset()
			return s.Score(0, tokens, func(int, []float32) error { return nil })
		})
		made, err := steps(r, 1)
		if err != nil {
			return err
		}
		a := m.hidden(Result{Name: name + "verified", Unit: unitTokens, Threads: 1}, whole, nil)
		b := m.hidden(Result{Name: name + "made", Unit: unitTokens, Threads: 1}, made, nil)
		m.combine(Result{Name: fmt.Sprintf("%sverifying %d tokens against making them", name, verifiedTokens), Unit: unitTimes, Threads: 1}, a, b, divide)
		return nil
	})
}

// addVotes compares answers of one token to a prompt that is shared with the same answers to prompts that are read each.
func addVotes(m *meter, c class) error {
	return eachKind(m, c, func(kind string, r decode.Runtime) error {
		prompt := ""
		for i := range votePrompt {
			prompt += letters[i*7%len(letters):][:1]
		}
		o := decode.VoteOptions{Votes: votes, GenerateOptions: decode.GenerateOptions{Sampling: decode.Sampling{Temperature: 1, Seed: 1}, MaxTokens: 1}}
		shared, err := decode.NewGenerator(r, decode.GeneratorOptions{Batch: votes})
		if err != nil {
			return err
		}
		alone, err := decode.NewGenerator(r, decode.GeneratorOptions{})
		if err != nil {
			return err
		}
		name := fmt.Sprintf("votes/%s %s, ", c.name, kind)
		a := m.hidden(Result{Name: name + "shared", Unit: "votes/s", Threads: 1}, rateOf(votes, func() error {
			_, err := shared.Vote(m.ctx, prompt, o)
			return err
		}), nil)
		b := m.hidden(Result{Name: name + "alone", Unit: "votes/s", Threads: 1}, rateOf(votes, func() error {
			for range votes {
				if _, err := alone.Generate(m.ctx, prompt, o.GenerateOptions); err != nil {
					return err
				}
			}
			return nil
		}), nil)
		m.combine(Result{Name: fmt.Sprintf("%s%d answers to one prompt of %d tokens against prompts read each", name, votes, votePrompt), Unit: unitTimes, Threads: 1}, a, b, divide)
		return nil
	})
}

// addGrammar compares texts that are held to JSON with texts that are not, token by token.
func addGrammar(m *meter, c class) error {
	rules, err := grammar.GBNF(grammar.JSON)
	if err != nil {
		return err
	}
	return eachKind(m, c, func(kind string, r decode.Runtime) error {
		g, err := decode.NewGenerator(r, decode.GeneratorOptions{})
		if err != nil {
			return err
		}
		speed := func(rules *grammar.Grammar) rate {
			seed := uint64(0)
			return func() (float64, error) {
				tokens, began := 0, time.Now()
				for time.Since(began) < decodeTime {
					seed++
					x, err := g.Generate(m.ctx, "a", decode.GenerateOptions{Sampling: decode.Sampling{Temperature: 2, Seed: seed}, MaxTokens: 40, Grammar: rules})
					if err != nil {
						return 0, err
					}
					tokens += len(x.Tokens)
				}
				return float64(tokens) / time.Since(began).Seconds(), nil
			}
		}
		name := fmt.Sprintf("grammar/%s %s, ", c.name, kind)
		a := m.hidden(Result{Name: name + "JSON", Unit: unitTokens, Threads: 1}, speed(rules), nil)
		b := m.hidden(Result{Name: name + "free", Unit: unitTokens, Threads: 1}, speed(nil), nil)
		m.combine(Result{Name: name + "tokens of JSON against free ones", Unit: unitTimes, Threads: 1}, a, b, divide)
		return nil
	})
}

// eachKind opens a class in both kinds, with a tokenizer of characters.
func eachKind(m *meter, c class, add func(kind string, r decode.Runtime) error) error {
	w, err := c.weights()
	if err != nil {
		return err
	}
	q, err := quantized(m.ctx, w)
	if err != nil {
		return err
	}
	tok, err := tokenizer.NewChars(letters)
	if err != nil {
		return err
	}
	i8, err := decode.NewInt8(q, tok, decode.Options{})
	if err != nil {
		return err
	}
	m.keep(i8)
	f32, err := decode.NewFloat32(w, tok, decode.Options{})
	if err != nil {
		return err
	}
	m.keep(f32)
	if err := add(decode.Int8, i8); err != nil {
		return err
	}
	return add(decode.Float32, f32)
}

// rateOf is the rate of runs that count amount each.
func rateOf(amount int, run func() error) rate {
	return func() (float64, error) {
		seconds, err := fastest(run)
		return float64(amount) / seconds, err
	}
}

package eval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"mito/engine/data"
	"mito/engine/decode"
)

// Calibration says how far a model's confidence in its next token can be believed. Confidence is the probability of the most probable
// token at a temperature that divides the logits. The temperature is fitted by the least loss (Guo et al., arXiv:1706.04599)
// on one half of the rows; everything else is measured on the other.
type Calibration struct {
	Temperature float64   `json:"temperature"`
	ECE         float64   `json:"ece"`         // expected calibration error at the temperature: mean distance of confidence and accuracy over 15 bins
	ECEBefore   float64   `json:"ece_before"`  // at temperature 1
	Entropy     float64   `json:"entropy"`     // mean of a token, at the temperature, in nats
	LossNats    float64   `json:"loss_nats"`   // at the temperature
	LossBefore  float64   `json:"loss_before"` // at temperature 1
	Tokens      float64   `json:"tokens"`      // that were measured on, by their weights
	Coverage    []Covered `json:"coverage"`
}

// Covered is the accuracy where the model answers a share of the tokens only, those that it is surest of.
type Covered struct {
	Coverage  float64 `json:"coverage"`
	Accuracy  float64 `json:"accuracy"`
	Threshold float64 `json:"threshold"` // least confidence of those that are answered
}

// ErrTooFewRows is what fails where there is nothing to measure on: Calibrate wants two rows, one to fit by and one to measure on.
var ErrTooFewRows = errors.New("there are too few held-out rows to measure on: one half fits, the other is measured on")

const (
	ecesBins    = 15
	gridSize    = 33 // temperatures from 1/4 to 4
	gridLargest = 4.0
)

var coverages = []float64{1, 0.9, 0.8, 0.7, 0.5, 0.3, 0.1}

func gridTemperature(i int) float64 {
	return math.Pow(gridLargest, 2*float64(i)/(gridSize-1)-1)
}

// Calibrate fits the temperature on the even rows of a held-out source and measures on the odd ones. A position with several right
// answers counts for each by its weight. Errors: as Loss, ErrTooFewRows.
func Calibrate(ctx context.Context, r decode.Runtime, e data.Eval) (Calibration, error) {
	var c Calibration
	var loss [gridSize]float64
	weight, row := 0.0, 0
	err := overRows(ctx, r, e, func(int) rowVisitor { return &fitRow{} }, func(_ int, v rowVisitor) {
		if row++; row%2 == 1 {
			f := v.(*fitRow)
			weight += f.weight
			for i := range loss {
				loss[i] += f.loss[i]
			}
		}
	})
	if err != nil {
		return c, err
	}
	best := 0
	for i := range loss {
		if loss[i] < loss[best] {
			best = i
		}
	}
	at := float64(best)
	if best > 0 && best < gridSize-1 { // the lowest point of a parabola through three
		a, b, d := loss[best-1], loss[best], loss[best+1]
		if curve := a - 2*b + d; curve > 0 {
			at += (a - d) / (2 * curve)
		}
	}
	c.Temperature = math.Pow(gridLargest, 2*at/(gridSize-1)-1)
	var after, before []judged
	row = 0
	err = overRows(ctx, r, e, func(int) rowVisitor { return &judgeRow{temperature: c.Temperature} }, func(_ int, v rowVisitor) {
		if row++; row%2 == 0 {
			j := v.(*judgeRow)
			after, before = append(after, j.after...), append(before, j.before...)
			c.Entropy, c.LossNats, c.LossBefore = c.Entropy+j.entropy, c.LossNats+j.loss, c.LossBefore+j.lossBefore
		}
	})
	if err != nil {
		return c, err
	}
	for _, j := range after {
		c.Tokens += j.weight
	}
	if weight == 0 || c.Tokens == 0 {
		return c, ErrTooFewRows
	}
	c.Entropy, c.LossNats, c.LossBefore = c.Entropy/c.Tokens, c.LossNats/c.Tokens, c.LossBefore/c.Tokens
	c.ECE, c.ECEBefore = calibrationError(after), calibrationError(before)
	c.Coverage = covered(after)
	return c, nil
}

// judged is a token with the model's confidence in its most probable one.
type judged struct {
	confidence, weight float64
	right              bool
}

// calibrationError is the expected calibration error (Naeini et al., 2015).
func calibrationError(list []judged) float64 {
	var sure, right, weight [ecesBins]float64
	total := 0.0
	for _, j := range list {
		b := min(ecesBins-1, int(j.confidence*ecesBins))
		sure[b] += j.weight * j.confidence
		weight[b] += j.weight
		total += j.weight
		if j.right {
			right[b] += j.weight
		}
	}
	e := 0.0
	for b := range weight {
		e += math.Abs(sure[b] - right[b])
	}
	return e / total
}

// covered is the accuracy at each of the coverages.
func covered(list []judged) (out []Covered) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b judged) int { return cmp.Compare(b.confidence, a.confidence) })
	total := 0.0
	for _, j := range list {
		total += j.weight
	}
	for _, share := range coverages {
		c := Covered{}
		weight, right := 0.0, 0.0
		for _, j := range list {
			if weight >= share*total*(1-1e-12) {
				break
			}
			weight += j.weight
			if c.Threshold = j.confidence; j.right {
				right += j.weight
			}
		}
		c.Coverage, c.Accuracy = weight/total, right/weight
		out = append(out, c)
	}
	return out
}

// fitRow sums the loss of a row at every temperature of the grid.
type fitRow struct {
	loss   [gridSize]float64
	weight float64
}

func (f *fitRow) visit(w float64, target int32, logits []float32) error {
	f.weight += w
	for i := range f.loss {
		d, err := softened(logits, gridTemperature(i))
		if err != nil {
			return err
		}
		f.loss[i] -= w * d.log(logits[target])
	}
	return nil
}

// judgeRow collects the tokens of a row.
type judgeRow struct {
	temperature               float64
	after, before             []judged
	entropy, loss, lossBefore float64
}

func (j *judgeRow) visit(w float64, target int32, logits []float32) error {
	own, err := decode.Largest(logits, nil)
	if err != nil {
		return err
	}
	d, err := softened(logits, j.temperature)
	if err != nil {
		return err
	}
	one, err := softened(logits, 1)
	if err != nil {
		return err
	}
	j.after = append(j.after, judged{math.Exp(d.log(logits[own])), w, own == target})
	j.before = append(j.before, judged{math.Exp(one.log(logits[own])), w, own == target})
	j.entropy, j.loss, j.lossBefore = j.entropy+w*d.entropy, j.loss-w*d.log(logits[target]), j.lossBefore-w*one.log(logits[target])
	return nil
}

// soft is a softmax of logits divided by a temperature.
type soft struct{ top, temperature, logSum, entropy float64 }

func softened(logits []float32, temperature float64) (s soft, err error) {
	s = soft{top: math.Inf(-1), temperature: temperature}
	for _, v := range logits {
		s.top = max(s.top, float64(v)) // a NaN stays
	}
	if math.IsNaN(s.top) || math.IsInf(s.top, 0) {
		return s, decode.ErrLogits
	}
	sum, mean := 0.0, 0.0
	for _, v := range logits {
		x := (float64(v) - s.top) / temperature
		if e := math.Exp(x); e > 0 {
			sum += e
			mean += e * x
		}
	}
	s.logSum = math.Log(sum)
	s.entropy = s.logSum - mean/sum
	return s, nil
}

// log is the logarithm of the probability of a logit.
func (s *soft) log(logit float32) float64 { return (float64(logit)-s.top)/s.temperature - s.logSum }

func (c Calibration) String() string {
	text := fmt.Sprintf("confidence at temperature %.3f: calibration error %.4f (%.4f at temperature 1), entropy %.4f nats a token, loss %.4f (%.4f)",
		c.Temperature, c.ECE, c.ECEBefore, c.Entropy, c.LossNats, c.LossBefore)
	for _, k := range c.Coverage {
		text += fmt.Sprintf("\n  %5.1f%% answered, confidence %.3f or more: %.2f%% right", 100*k.Coverage, k.Threshold, 100*k.Accuracy)
	}
	return text
}

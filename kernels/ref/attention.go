package ref

import "math"

// Attention is the shape of causal attention: query head h attends with key and value head h/(heads/kvHeads), position i
// to positions max(0, i-window+1)..i (window 0: to 0..i).
type Attention struct {
	Batch, Time, Heads, KVHeads, HeadDim, Window int
	Scale                                        float64
	Positions                                    []int32 // [B,T] ascending in a sequence, which windows count; nil for 0..T-1
}

// visible reports whether row i of sequence b attends to row j.
func (a *Attention) visible(b, i, j int) bool {
	if a.Window == 0 || a.Positions == nil {
		return j <= i && (a.Window == 0 || j > i-a.Window)
	}
	return j <= i && int(a.Positions[b*a.Time+j]) > int(a.Positions[b*a.Time+i])-a.Window
}

func (a *Attention) q(b, t, h int) int { return ((b*a.Time+t)*a.Heads + h) * a.HeadDim }
func (a *Attention) kv(b, t, h int) int {
	return ((b*a.Time+t)*a.KVHeads + h/(a.Heads/a.KVHeads)) * a.HeadDim
}

// probs returns the probabilities of one query row over all positions and its log-sum-exp.
func (a *Attention) probs(q, k []float64, b, i, h int) ([]float64, float64) {
	p := make([]float64, a.Time)
	top := math.Inf(-1)
	for j := range p {
		if !a.visible(b, i, j) {
			p[j] = math.Inf(-1)
			continue
		}
		for d := range a.HeadDim {
			p[j] += q[a.q(b, i, h)+d] * k[a.kv(b, j, h)+d]
		}
		p[j] *= a.Scale
		top = math.Max(top, p[j])
	}
	var sum float64
	for j := range p {
		p[j] = math.Exp(p[j] - top)
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
	return p, top + math.Log(sum)
}

// Forward returns out [B,T,H,D] = softmax(Scale·q·kᵀ)·v over the visible positions, and the log-sum-exp [B,T,H] of each
// row of scores. q is [B,T,H,D], k and v are [B,T,G,D].
func (a *Attention) Forward(q, k, v []float64) (out, lse []float64) {
	out, lse = make([]float64, len(q)), make([]float64, a.Batch*a.Time*a.Heads)
	for b := range a.Batch {
		for i := range a.Time {
			for h := range a.Heads {
				p, l := a.probs(q, k, b, i, h)
				lse[(b*a.Time+i)*a.Heads+h] = l
				for j, pj := range p {
					for d := range a.HeadDim {
						out[a.q(b, i, h)+d] += pj * v[a.kv(b, j, h)+d]
					}
				}
			}
		}
	}
	return out, lse
}

// Backward returns the gradients of Σ dout·out.
func (a *Attention) Backward(dout, q, k, v []float64) (dq, dk, dv []float64) {
	dq, dk, dv = make([]float64, len(q)), make([]float64, len(k)), make([]float64, len(v))
	dp := make([]float64, a.Time)
	for b := range a.Batch {
		for i := range a.Time {
			for h := range a.Heads {
				p, _ := a.probs(q, k, b, i, h)
				row := a.q(b, i, h)
				var mean float64
				for j := range p {
					dp[j] = 0
					for d := range a.HeadDim {
						dp[j] += dout[row+d] * v[a.kv(b, j, h)+d]
						dv[a.kv(b, j, h)+d] += p[j] * dout[row+d]
					}
					mean += p[j] * dp[j]
				}
				for j := range p {
					ds := p[j] * (dp[j] - mean) * a.Scale
					for d := range a.HeadDim {
						dq[row+d] += ds * k[a.kv(b, j, h)+d]
						dk[a.kv(b, j, h)+d] += ds * q[row+d]
					}
				}
			}
		}
	}
	return dq, dk, dv
}

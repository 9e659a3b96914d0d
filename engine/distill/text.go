package distill

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"

	"gorgonia.org/tensor"

	"mito/backend"
	"mito/engine/model"
	"mito/engine/train"
)

// Text is what teachers and a student with other tokens have in common. A teacher's probabilities are those of its tokens;
// what the student needs are those of its own next symbol, a character or a byte. They are the mass of all tokens that go on
// with it (Vieira et al., arXiv:2412.03719; Phan et al., arXiv:2410.09303). With boundaries b_0 < b_1 < … of the teacher's
// tokens t_0, t_1, … in the text,
//
//	P(s after text[:p]) ∝ Σ_j Π_{i<j} P(t_i | t_<i) · P(token j begins with text[b_j:p]·s | t_<j)
//
// over the boundaries j up to p, and those inside the symbol that follows where s agrees with the text up to them. The sum
// leaves out what no forward pass over the text tells: other ways of cutting it.
type Text struct {
	Source   train.Gatherable // rows of the student's tokens
	Pieces   []string         // what each id of the student stands for, "" for nothing; none begins with another
	Teachers []Reading        // of each teacher
}

// Reading is the text of the source as a teacher's tokenizer reads it.
type Reading struct {
	Tokens []int32
	Pieces []string // what each id stands for, "" for nothing
	Begin  []int32  // what the teacher expects before a text
}

// TextError reports texts that cannot be brought together.
type TextError struct{ What string }

func (e *TextError) Error() string { return "distill: " + e.What }

// lead is how many tokens before a row a teacher sees beside those in it.
const lead = 16

// aligner asks one teacher.
type aligner struct {
	reading *Reading
	teacher *model.Model
	tree    *tree
	begins  []int // [n+1] where each token of the teacher begins in the text
	places  []int // [L+1] where each token of the student begins
	text    string
	longest int // piece of the teacher, in bytes
	window  int // tokens of a teacher's row
	runs    map[int]*run
}

// run is what a batch of one size needs.
type run struct {
	slab  backend.Slab
	acts  *model.Activations
	probs *tensor.Dense // [B·window, V]
	host  []float32
	first []int // [B] the teacher's token that a row begins with, after Reading.Begin
	ids   []int32
	at    []int32 // positions
	cums  [][]float64
	known []bool // cums holds that token
}

// symbols is the tree of the student's symbols. Errors: *TextError.
func (t *Text) symbols() (*tree, error) {
	s := newTree(t.Pieces)
	for _, n := range s.nodes {
		if n.id >= 0 && len(n.kids) > 0 || n.hi-n.lo > 1 && len(n.kids) == 0 {
			return nil, &TextError{fmt.Sprintf("the student's token %q begins others, so that a teacher with other tokens cannot tell its probability; "+
				"give the student the tokens of its teacher, characters or bytes (--tokenizer teacher, chars or bytes)", t.Pieces[n.id])}
		}
	}
	return s, nil
}

func newAligner(t *Text, teacher *model.Model, reading *Reading) (*aligner, error) {
	al := &aligner{reading: reading, teacher: teacher, tree: newTree(reading.Pieces), runs: map[int]*run{}}
	var text []byte
	for _, id := range t.Source.Tokens() {
		al.places = append(al.places, len(text))
		if int(id) >= len(t.Pieces) || t.Pieces[id] == "" {
			return nil, &TextError{fmt.Sprintf("the student's token %d stands for no text", id)}
		}
		text = append(text, t.Pieces[id]...)
	}
	al.places = append(al.places, len(text))
	if len(reading.Pieces) > teacher.Config.VocabSize {
		return nil, &TextError{fmt.Sprintf("the teacher's tokenizer has %d tokens and the teacher %d", len(reading.Pieces), teacher.Config.VocabSize)}
	}
	var theirs []byte
	for _, id := range reading.Tokens {
		al.begins = append(al.begins, len(theirs))
		theirs = append(theirs, reading.Pieces[id]...)
	}
	al.begins = append(al.begins, len(theirs))
	if len(theirs) == len(text)+1 && theirs[0] == ' ' { // that tokenizers of Llama's kind put before a text
		text = append([]byte(" "), text...)
		for i := range al.places {
			al.places[i]++
		}
	}
	if al.text = string(text); al.text != string(theirs) {
		at := 0
		for at < min(len(text), len(theirs)) && text[at] == theirs[at] {
			at++
		}
		return nil, &TextError{fmt.Sprintf("the teacher's tokenizer changes the text at byte %d, as one that normalizes does; "+
			"write the corpus in the form that it gives back, or give the student the teacher's tokens (--tokenizer teacher)", at)}
	}
	for _, p := range reading.Pieces {
		al.longest = max(al.longest, len(p))
	}
	_, time := t.Source.Shape()
	need := 1
	for s := 0; s+time < len(t.Source.Tokens()); s++ {
		need = max(need, al.last(s, time)-al.holding(al.places[s+1])+1)
	}
	need += len(reading.Begin)
	if most := teacher.Config.Context; need > most {
		return nil, &TextError{fmt.Sprintf("the teacher has a context of %d tokens, and a row of %d of the student's needs up to %d; "+
			"shorten the rows (--context)", most, time, need)}
	}
	al.window = min(need+lead, teacher.Config.Context)
	return al, nil
}

// holding is the teacher's token that a byte belongs to.
func (al *aligner) holding(place int) int { return sort.SearchInts(al.begins, place+1) - 1 }

// last is the last of the teacher's tokens whose distribution a row from the student's token s on needs.
func (al *aligner) last(s, time int) int { return al.holding(al.places[s+time+1] - 1) }

func (al *aligner) close() (err error) {
	for _, r := range al.runs {
		if r.acts != nil {
			err = errors.Join(err, r.acts.Close())
		}
		err = errors.Join(err, r.slab.Free())
	}
	return err
}

func (al *aligner) run(b backend.Backend, rows int) (*run, error) {
	if r := al.runs[rows]; r != nil {
		return r, nil
	}
	n, vocab := rows*al.window, al.teacher.Config.VocabSize
	r := &run{host: make([]float32, n*vocab), first: make([]int, rows), ids: make([]int32, n), at: make([]int32, n),
		cums: make([][]float64, al.window+1), known: make([]bool, al.window+1)}
	var err error
	if r.slab, err = backend.Reserve(b, backend.Want{To: &r.probs, DType: backend.F32, Shape: []int{n, vocab}}); err != nil {
		return nil, fmt.Errorf("distill: %w", err)
	}
	if r.acts, err = al.teacher.NewActivations(rows, al.window, false); err != nil {
		return nil, errors.Join(fmt.Errorf("distill: %w", err), r.slab.Free())
	}
	for i := range r.at {
		r.at[i] = int32(i % al.window)
	}
	al.runs[rows] = r
	return r, nil
}

// ask runs the teacher over the text round rows of the student, which begin at its tokens starts.
func (al *aligner) ask(b backend.Backend, starts []int, time int) (*run, error) {
	r, err := al.run(b, len(starts))
	if err != nil {
		return nil, err
	}
	begin := al.reading.Begin
	for row, s := range starts {
		ids := r.ids[row*al.window:][:al.window]
		copy(ids, begin)
		room := al.window - len(begin)
		r.first[row] = max(0, al.last(s, time)-room)
		n := copy(ids[len(begin):], al.reading.Tokens[r.first[row]:])
		clear(ids[len(begin)+n:]) // after the end of the text, where nothing is read from
	}
	return r, backend.First(
		b.Upload(r.acts.Inputs, r.ids), b.Upload(r.acts.Positions, r.at),
		al.teacher.Forward(r.acts),
		b.Softmax(r.probs, r.acts.Logits, 1, 1, false),
		b.Download(r.host, r.probs),
	)
}

// cum are the sums of the distribution of the teacher's token j over the order of its tree, nil where the row does not tell.
func (al *aligner) cum(r *run, row, j int) []float64 {
	at := j - r.first[row]           // among the tokens of the row
	in := at + len(al.reading.Begin) // inputs before it
	if at < 0 || in < 1 || in > al.window || at == 0 && r.first[row] > 0 {
		return nil
	}
	if r.known[in] {
		return r.cums[in]
	}
	if r.cums[in] == nil {
		r.cums[in] = make([]float64, len(al.tree.order)+1)
	}
	probs := r.host[(row*al.window+in-1)*al.teacher.Config.VocabSize:]
	sum := 0.0
	for i, id := range al.tree.order {
		sum += float64(probs[id])
		r.cums[in][i+1] = sum
	}
	r.known[in] = true
	return r.cums[in]
}

// say adds weight times the teacher's probabilities of the student's symbols to out [rows·time, V]. Where it knows nothing,
// at the beginning of a text, its answer is the label.
func (al *aligner) say(r *run, symbols *tree, start, time, row int, out []float32, vocab int, temperature float64, weight float32) {
	clear(r.known)
	mass := make([]float64, vocab)
	for i := range time {
		p, end := al.places[start+i+1], al.places[start+i+2]
		al.masses(r, symbols, row, p, end, mass)
		to := out[i*vocab:][:vocab]
		total := 0.0
		for id, m := range mass {
			if m > 0 && temperature != 1 {
				mass[id] = math.Pow(m, 1/temperature)
			}
			total += mass[id]
		}
		if !(total > math.SmallestNonzeroFloat32) {
			clear(mass)
			label := symbols.nodes[symbols.walk(0, al.text[p:end])].id
			mass[label], total = 1, 1
		}
		for id, m := range mass {
			to[id] += weight * float32(m/total)
		}
	}
}

// masses sums up for every symbol that could stand at p, where the text has one up to end.
func (al *aligner) masses(r *run, symbols *tree, row, p, end int, mass []float64) {
	clear(mass)
	from := al.holding(max(0, p-al.longest+1))
	path := 1.0 // the probability of the tokens between the first boundary that is known and j
	started := false
	for j := from; al.begins[j] < end; j++ {
		cum := al.cum(r, row, j)
		if cum == nil {
			if started {
				break
			}
			continue
		}
		at := al.begins[j]
		if !started && at > p {
			break
		}
		started = true
		top, symbol := int32(0), int32(0)
		if at <= p {
			top = al.tree.walk(0, al.text[at:p])
		} else {
			symbol = symbols.walk(0, al.text[p:at])
		}
		if top >= 0 && symbol >= 0 {
			al.spread(symbols, symbol, top, cum, path, mass)
		}
		own := al.tree.walk(0, al.reading.Pieces[al.reading.Tokens[j]])
		if own < 0 {
			break
		}
		path *= al.only(own, al.reading.Tokens[j], cum)
	}
}

// only is the probability of one token.
func (al *aligner) only(n, id int32, cum []float64) float64 {
	i, _ := slices.BinarySearchFunc(al.tree.order[al.tree.nodes[n].lo:al.tree.nodes[n].hi], id, func(have, want int32) int {
		if al.reading.Pieces[have] != al.reading.Pieces[want] {
			return 1 // longer ones come after
		}
		return int(have) - int(want)
	})
	at := int(al.tree.nodes[n].lo) + i
	return cum[at+1] - cum[at]
}

// spread adds the tokens below a node of the teacher's tree to the symbols that they go on with.
func (al *aligner) spread(symbols *tree, symbol, top int32, cum []float64, path float64, mass []float64) {
	s := &symbols.nodes[symbol]
	if s.id >= 0 {
		n := &al.tree.nodes[top]
		mass[s.id] += path * (cum[n.hi] - cum[n.lo])
		return
	}
	a, b := s.kids, al.tree.nodes[top].kids
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].b < b[0].b:
			a = a[1:]
		case a[0].b > b[0].b:
			b = b[1:]
		default:
			al.spread(symbols, a[0].to, b[0].to, cum, path, mass)
			a, b = a[1:], b[1:]
		}
	}
}

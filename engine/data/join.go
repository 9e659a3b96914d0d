package data

import (
	"cmp"
	"slices"
)

// apart gives every example a row of its own.
func apart(n int) [][]int32 {
	rows, all := make([][]int32, n), make([]int32, n)
	for i := range rows {
		all[i] = int32(i)
		rows[i] = all[i : i+1 : i+1]
	}
	return rows
}

// joined puts examples whose prompts continue one another into one row: a causal model answers all of them in one pass over
// the longest prompt. Each example is in one row, in that of the first prompt that continues it; the rows are in the order
// of their longest prompts among the examples. Of examples with equal prompts each has a row.
func joined(examples []tokenExample) [][]int32 {
	order := make([]int32, len(examples))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(slices.Compare(examples[a].prompt, examples[b].prompt), cmp.Compare(a, b))
	})
	var rows [][]int32
	var open []int32 // prompts that wait for the longest that continues them; each begins the one behind it
	for k, i := range order {
		open = append(open, i)
		if k+1 < len(order) && begins(examples[i].prompt, examples[order[k+1]].prompt) {
			continue
		}
		slices.Reverse(open)
		rows = append(rows, slices.Clone(open))
		open = open[:0]
	}
	slices.SortFunc(rows, func(a, b []int32) int { return cmp.Compare(a[0], b[0]) })
	return rows
}

// begins says whether a longer prompt begins with a prompt.
func begins(prompt, longer []int32) bool {
	return len(prompt) < len(longer) && slices.Equal(prompt, longer[:len(prompt)])
}

// times is how often an epoch visits a row: as often as the example of it that wants it most.
func (s *exampleSet) times(row []int32) (n int) {
	for _, i := range row {
		n = max(n, s.examples[i].times)
	}
	return n
}

// repeat lists every row as often as an epoch visits it, and returns their number.
func (s *exampleSet) repeat() int {
	var all [][]int32
	for _, row := range s.rows {
		for range s.times(row) {
			all = append(all, row)
		}
	}
	s.rows = all
	return len(all)
}

// most is the number of answers of the example of a row that has most of them.
func (s *exampleSet) most(row []int32) (n int) {
	for _, i := range row {
		n = max(n, len(s.examples[i].answers))
	}
	return n
}

// show lays out one visit of an evaluation.
func (s *exampleSet) show(b *Batch, r int, v visit) {
	row := s.rows[v.row]
	first := &s.examples[row[0]]
	if answer := int(v.answer); answer < len(first.answers) {
		first.put(b, r, answer, first.weight())
	} else {
		first.put(b, r, 0, 0)
	}
	for _, i := range row[1:] {
		if ex := &s.examples[i]; int(v.answer) < len(ex.answers) {
			ex.mark(b, r, int(v.answer), ex.weight())
		}
	}
}

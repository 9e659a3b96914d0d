package task

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// ExactScore is the score of an [Exact] task.
type ExactScore struct {
	Split   Split `json:"split"` // whose prompts they are
	Prompts int   `json:"prompts"`
	Exact   int   `json:"exact"` // prompts whose answer is one of the right ones

	// Constrained says that answers were held to a closed set of so many Answers, so that none can be outside it.
	Constrained bool `json:"constrained"`
	Answers     int  `json:"answers,omitempty"`
	// Unconstrained is how many answers are exact where nothing holds them, and Outside how many are then outside the closed set,
	// or, where the set is open, have not ended.
	Unconstrained int `json:"unconstrained_exact"`
	Outside       int `json:"unconstrained_outside"`

	Marks    *Marks    `json:"scorer,omitempty"`   // of a program
	Mistakes []Mistake `json:"mistakes,omitempty"` // the first of them
}

// Mistake is an answer that is not one of the right ones.
type Mistake struct {
	Prompt string   `json:"prompt"`
	Answer string   `json:"answer"`
	Right  []string `json:"right"`
}

// maxMistakes is how many a score shows.
const maxMistakes = 10

// Interval returns the 95% interval of the share of exact answers.
func (s *ExactScore) Interval() Interval { return Wilson(s.Exact, s.Prompts) }

// UnconstrainedInterval is that of the share of exact answers where nothing holds them.
func (s *ExactScore) UnconstrainedInterval() Interval { return Wilson(s.Unconstrained, s.Prompts) }

// String returns the score in one line for people.
func (s *ExactScore) String() string {
	return s.Split.Words() + "prompts answered exactly: " + s.Words()
}

// Words are the numbers of the score, for people.
func (s *ExactScore) Words() string {
	var b strings.Builder
	iv := s.Interval()
	fmt.Fprintf(&b, "%d of %d (%.1f%%, 95%% interval %.1f-%.1f%%)", s.Exact, s.Prompts, percent(s.Exact, s.Prompts), 100*iv[0], 100*iv[1])
	if s.Constrained {
		fmt.Fprintf(&b, ", held to a set of %d answers; without it %d (%.1f%%), and %d outside the set",
			s.Answers, s.Unconstrained, percent(s.Unconstrained, s.Prompts), s.Outside)
	} else {
		fmt.Fprintf(&b, ", held to nothing; %d without an end", s.Outside)
	}
	if s.Marks != nil {
		fmt.Fprintf(&b, "; %s", s.Marks)
	}
	return b.String()
}

// MarshalJSON adds the intervals to the counts.
func (s *ExactScore) MarshalJSON() ([]byte, error) {
	type counts ExactScore
	return json.Marshal(struct {
		counts
		Interval      Interval `json:"exact_interval"`
		Unconstrained Interval `json:"unconstrained_interval"`
	}{counts(*s), s.Interval(), s.UnconstrainedInterval()})
}

// Marks is what a program said of the answers: a mark from 0, wrong, to 1, right, for each.
type Marks struct {
	Scorer   string   `json:"program"`
	Marked   int      `json:"marked"`
	Mean     float64  `json:"mean"`
	Right    int      `json:"right"` // marks of 1
	Interval Interval `json:"interval"`
}

// newMarks summarises marks. The interval of the mean is Wilson's where all are 0 or 1, and else that of a normal
// distribution, ± 1.96·s/√n.
func newMarks(scorer string, marks []float64) *Marks {
	m := &Marks{Scorer: scorer, Marked: len(marks), Interval: Interval{0, 1}}
	if len(marks) == 0 {
		return m
	}
	n, sum, partial := float64(len(marks)), 0.0, false
	for _, v := range marks {
		sum += v
		if v == 1 {
			m.Right++
		}
		partial = partial || v != 0 && v != 1
	}
	if m.Mean = sum / n; !partial {
		m.Interval = Wilson(m.Right, len(marks))
		return m
	}
	squares := 0.0
	for _, v := range marks {
		squares += (v - m.Mean) * (v - m.Mean)
	}
	half := 1.96 * math.Sqrt(squares/max(1, n-1)/n)
	m.Interval = Interval{max(0, m.Mean-half), min(1, m.Mean+half)}
	return m
}

func (m *Marks) String() string {
	return fmt.Sprintf("%s gives %.3f on average (95%% interval %.3f-%.3f), 1 to %d of %d", m.Scorer, m.Mean, m.Interval[0], m.Interval[1], m.Right, m.Marked)
}

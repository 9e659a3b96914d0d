package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// Replay is a game or board as it was played, for the board of report.html.
type Replay struct {
	Name   string  `json:"name"` // such as "compressed against perfect, playing first: drawn"
	Cols   int     `json:"cols"` // of the board; 0 where the task has none
	Frames []Frame `json:"frames"`
}

// Frame is a position of a replay. Cells go row by row from the top left: x is a stone of the model, o one of its opponent, a digit a
// tile, a blank a free cell. Where the task has no board, Cells is the prompt.
type Frame struct {
	Cells string `json:"cells"`
	By    string `json:"by,omitempty"`   // who moves: model or opponent; "" in the last
	Move  string `json:"move,omitempty"` // the answer
}

// Sample is a text that a model wrote.
type Sample struct {
	Name   string `json:"name"` // of the candidate
	Prompt string `json:"prompt"`
	Text   string `json:"text"` // after the prompt
	How    string `json:"how"`  // such as "temperature 0.8, seed 1"
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template fills in.
type page struct {
	*Report
	Summary               []fact
	Table, Beside         grid
	Disturbed             string
	Charts                []*chart
	Origins               []grid
	Duration              string
	Width, Height         int
	Left, Right, Top, Bot int // the frame of a chart
}

// fact is a name and a value of the summary.
type fact struct{ Name, Value string }

// WriteHTML writes the report as one page that needs nothing else: no request leaves it, and it can be read in light and dark, on a
// phone and, but for the games, without scripts.
func (r *Report) WriteHTML(w io.Writer, curves []Series) error {
	p := page{Report: r, Duration: seconds(r.Seconds), Width: chartWidth, Height: chartHeight,
		Left: chartLeft, Right: chartWidth - chartRight, Top: chartTop, Bot: chartHeight - chartY}
	if len(r.Candidates) > 0 {
		p.Table = r.candidates()
	}
	if r.disturbed() {
		p.Disturbed = disturbedNote
	}
	if len(r.Rows) > 0 {
		p.Beside = r.compared()
	}
	for _, c := range []*chart{
		r.paretoChart("Loss against bytes", "bytes of weights", func(c *Candidate) Number { return Number(c.Bytes) }, true),
		r.paretoChart("Loss against speed", "tokens/s", func(c *Candidate) Number { return c.Speed }, false),
		lossChart(curves),
	} {
		if c != nil {
			p.Charts = append(p.Charts, c)
		}
	}
	p.Summary = r.shipped()
	var err error
	if p.Origins, err = r.origins(); err != nil {
		return err
	}
	if err := pageTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// shipped says in a few numbers what the compressed student is.
func (r *Report) shipped() []fact {
	c := &r.Compressed
	if c.Params == 0 {
		return nil
	}
	list := []fact{{"parameters", thousands(c.Params)}, {"bytes", thousands(c.Bytes)}, {"loss, nats a token", number(c.LossNats, 4)}}
	if c.BitsPerByte.Measured() {
		list = append(list, fact{"bits per byte", number(c.BitsPerByte, 4)})
	}
	if r.Speed.Compressed.Measured() {
		list = append(list, fact{"tokens/s here", rate(r.Speed.Compressed)})
	}
	for _, s := range c.Scores {
		text, _, _ := strings.Cut(s.Text, " (") // intervals are in the table
		list = append(list, fact{s.Name, text})
	}
	return list
}

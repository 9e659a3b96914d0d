package task

// Board says how positions are written in a task's prompts, what may be answered and how its games end, for programs that let people
// play and have no rules of their own. A prompt is the characters of its cells in their order, then '='; or, where there is a Start,
// that and the stones in the order of play. A game is answered with the character of a free cell that can be played, a puzzle with U,
// D, L or R, the way that the gap goes, behind one of Left where there are some.
type Board struct {
	Rows int `json:"rows"`
	Cols int `json:"cols"`
	// Line is the number of equal stones in a row, a column or a diagonal that wins. Where it is 0 and nothing flips, the board is a puzzle,
	// whose tiles slide, and which is solved when they stand in order with the gap last.
	Line  int  `json:"line"`
	Drops bool `json:"drops"` // stones fall to the lowest free cell of their column
	// Flips says that a stone must enclose a row of the other side's, which it turns over, that a side which cannot passes, and that
	// most stones win where neither can.
	Flips bool   `json:"flips"`
	Begin []int  `json:"begin"` // what lies on the cells at first: 0 nothing, 1 a stone of the side that begins, 2 of the other; nil for nothing
	Cells []Cell `json:"cells"`
	Limit int    `json:"limit"` // moves that a puzzle allows
	Start string `json:"start"` // FormatMoves
	Left  string `json:"left"`  // FormatDistance: the characters for 1, 2, … moves left
}

// Cell is a place of a board. Row 0 is the uppermost.
type Cell struct {
	Row int `json:"row"`
	Col int `json:"col"`
	// Chars are what a prompt has for the cell: free (which is also the answer that plays there), a stone of the side to move, a stone
	// of the other side; with a Start those of the side that began, and of the other; of a puzzle the gap, then tile 1, 2, ….
	Chars string `json:"chars"`
}

// BoardError reports a task that has no board, or one that a Board does not describe.
type BoardError struct{ Task string }

func (e *BoardError) Error() string { return "task: " + e.Task + " has no board to be played on" }

// BoardOf describes the board of a task in a format, "" for its own. Errors: *UnknownError, *BoardError, *FormatError.
func BoardOf(name, format string) (Board, error) {
	var b Board
	if err := checkFormat(name, format); err != nil {
		return b, err
	}
	switch name {
	case tictactoeName:
		b = Board{Rows: 3, Cols: 3, Line: 3}
		for c := range free3 {
			b.Cells = append(b.Cells, Cell{c / 3, c % 3, free3[c:c+1] + own3[c:c+1] + opp3[c:c+1]})
		}
	case connect4Name:
		b = Board{Rows: rows4, Cols: cols4, Line: 4, Drops: true}
		if format == FormatMoves {
			b.Start = string(movesStart)
		}
		for c := range cells4 {
			b.Cells = append(b.Cells, Cell{rows4 - 1 - c%rows4, c / rows4, free4[c/rows4:c/rows4+1] + own4[c:c+1] + opp4[c:c+1]})
		}
	case puzzle8Name:
		b = Board{Rows: 3, Cols: 3, Limit: DefaultMoveLimit}
		if format == FormatDistance {
			b.Left = string(left8)
		}
		for c := range 9 {
			b.Cells = append(b.Cells, Cell{c / 3, c % 3, cells8[9*c : 9*c+9]})
		}
	case othelloName:
		b = Board{Rows: side6, Cols: side6, Flips: true}
		for c := range cells6 {
			b.Cells = append(b.Cells, Cell{c / side6, c % side6, string([]rune{free6[c], own6[c], opp6[c]})})
			b.Begin = append(b.Begin, int(start6.own>>c&1)+2*int(start6.opp>>c&1))
		}
	case commandsName, mastermindName, lotteryName:
		return b, &BoardError{Task: name}
	default:
		return b, &UnknownError{Name: name, Known: Names()}
	}
	return b, nil
}

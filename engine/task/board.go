package task

// Board says how positions are written in a task's prompts and how its games end, for programs that let people play and have no
// rules of their own: with [Rules] it is all they need. A prompt is the characters of its cells in their order, then '='.
type Board struct {
	Rows int `json:"rows"`
	Cols int `json:"cols"`
	// Line is the number of equal stones in a row, a column or a diagonal that wins; 0 for a puzzle, whose tiles slide, and which is
	// solved when they stand in order with the gap last.
	Line  int    `json:"line"`
	Drops bool   `json:"drops"` // stones fall to the lowest free cell of their column
	Cells []Cell `json:"cells"`
	Limit int    `json:"limit"` // moves that a puzzle allows
}

// Cell is a place of a board. Row 0 is the uppermost.
type Cell struct {
	Row int `json:"row"`
	Col int `json:"col"`
	// Chars are what a prompt has for the cell: free (which is also the answer that plays there), a stone of the side to move, a stone
	// of the other side; of a puzzle the gap, then tile 1, 2, …, whose answers are U, D, L and R, the way that the gap goes.
	Chars string `json:"chars"`
}

// BoardOf describes the board of a task in its own format. Errors: *UnknownError, *RulesError for one that has no Rules.
func BoardOf(name string) (Board, error) {
	var b Board
	switch name {
	case tictactoeName:
		b = Board{Rows: 3, Cols: 3, Line: 3}
		for c := range free3 {
			b.Cells = append(b.Cells, Cell{c / 3, c % 3, free3[c:c+1] + own3[c:c+1] + opp3[c:c+1]})
		}
	case connect4Name:
		b = Board{Rows: rows4, Cols: cols4, Line: 4, Drops: true}
		for c := range cells4 {
			b.Cells = append(b.Cells, Cell{rows4 - 1 - c%rows4, c / rows4, free4[c/rows4:c/rows4+1] + own4[c:c+1] + opp4[c:c+1]})
		}
	case puzzle8Name:
		b = Board{Rows: 3, Cols: 3, Limit: DefaultMoveLimit}
		for c := range 9 {
			b.Cells = append(b.Cells, Cell{c / 3, c % 3, cells8[9*c : 9*c+9]})
		}
	case commandsName, othelloName, mastermindName, lotteryName:
		return b, &RulesError{Task: name}
	default:
		return b, &UnknownError{Name: name, Known: Names()}
	}
	return b, nil
}

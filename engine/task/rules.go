package task

// Rule says that an answer is legal where a character of the prompt has a value. Where the legal answers of a task can be said
// so, a program without its rules can mask all others.
type Rule struct {
	At     int  // of the prompt, in bytes
	Is     byte // the character there
	Answer byte
}

// RulesError reports a task, or a format of one, whose legal answers single characters of the prompt do not tell.
type RulesError struct{ Task, Format string }

func (e *RulesError) Error() string {
	name := e.Task
	if e.Format != "" {
		name += " in the format " + e.Format
	}
	return "task: " + name + " has no rules of characters that say which answers are legal"
}

// Rules lists the rules of a task in its own format. Errors: *UnknownError, *RulesError.
func Rules(name string) (rules []Rule, err error) {
	switch name {
	case tictactoeName:
		for c := range free3 {
			rules = append(rules, Rule{c, free3[c], free3[c]})
		}
	case connect4Name: // the top cell of a column is free
		for c := range free4 {
			rules = append(rules, Rule{c*rows4 + rows4 - 1, free4[c], free4[c]})
		}
	case puzzle8Name: // the gap goes where there is a cell
		for c := range 9 {
			row, col := c/3, c%3
			for i, ok := range []bool{row > 0, row < 2, col > 0, col < 2} {
				if ok {
					rules = append(rules, Rule{c, cells8[9*c], moves8[i]})
				}
			}
		}
	case commandsName, othelloName, mastermindName, lotteryName:
		return nil, &RulesError{Task: name}
	default:
		return nil, &UnknownError{Name: name, Known: Names()}
	}
	return rules, nil
}

package task

import (
	"fmt"
	"strconv"
	"strings"
)

// depthPrefix begins the names of opponents that search: depth-N looks N plies ahead.
const depthPrefix = "depth-"

// limits are the sizes of a task that is labelled by a bounded search, and of what can be asked of it.
type limits struct{ positions, depth, mostPositions, mostDepth int }

// searched fills in what is left out of the options of such a task. Errors: *OptionError.
func (o Options) searched(name string, l limits) (Options, error) {
	if o.Positions == 0 {
		o.Positions = l.positions
	}
	if o.Depth == 0 {
		o.Depth = l.depth
	}
	if o.Positions > l.mostPositions {
		return o, &OptionError{Task: name, Option: "positions", Got: o.Positions, Want: fmt.Sprintf("at most %d", l.mostPositions)}
	}
	if o.Depth < 1 || o.Depth > l.mostDepth {
		return o, &OptionError{Task: name, Option: "depth", Got: o.Depth, Want: fmt.Sprintf("1 to %d plies", l.mostDepth)}
	}
	return o, nil
}

// opponentDepth is how far an opponent looks ahead, 0 for the random one and for none, which is the random one. Errors: *OpponentError.
func opponentDepth(name, opponent string, most int) (int, error) {
	if opponent == "" || opponent == opponentRandom {
		return 0, nil
	}
	depth, err := strconv.Atoi(strings.TrimPrefix(opponent, depthPrefix))
	if err != nil || opponent != depthPrefix+strconv.Itoa(depth) || depth < 1 || depth > most {
		return 0, &OpponentError{Task: name, Opponent: opponent,
			Known: []string{opponentRandom, fmt.Sprintf("%s1 to %s%d", depthPrefix, depthPrefix, most)}}
	}
	return depth, nil
}

package task

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mito/engine/data"
)

// Task is a problem with labelled positions and a way to score a player.
// A Task is safe for use by several goroutines.
type Task interface {
	// Name is the name that Lookup takes.
	Name() string
	// Describe returns the exact prompt and answer format with examples, for a
	// reader who wants to write another program that plays.
	Describe() string
	// Alphabet returns every character that a prompt or an answer can hold,
	// each once, in increasing order.
	Alphabet() string
	// Examples returns the labelled positions of a split in a fixed order. The
	// caller may reorder the slice but not change an Answers slice. The error
	// is a *SplitError for an unknown split. Labelling may take minutes; when
	// ctx is done it ends soon and returns ctx's error.
	Examples(ctx context.Context, split Split) ([]data.Example, error)
	// Solve returns the best answers for a prompt, as Examples would label it.
	// The error is a *PromptError if the prompt is no position of this task or
	// if nothing is left to decide in it.
	Solve(prompt string) ([]string, error)
	// Opponents lists the opponents that Score knows, weakest first; nil for a
	// puzzle.
	Opponents() []string
	// Score lets p play. Errors are a *OpponentError, an *OptionError, a
	// *PlayerError, ctx's error or the player's own.
	Score(ctx context.Context, p Player, o ScoreOptions) (Score, error)
}

// Split names a part of the labelled positions.
type Split string

// The parts. Test holds about a tenth of the positions, All is Train and Test.
const (
	Train Split = "train"
	Test  Split = "test"
	All   Split = "all"
)

// Words is what stands before the name of what was drawn from a split; "" for All.
func (s Split) Words() string { return map[Split]string{Test: "held-out ", Train: "trained-on "}[s] }

// Options sets what a task generates. The zero value is every task's full set.
type Options struct {
	// Positions is the largest number of labelled positions to generate,
	// 0 for the task's own: all of tictactoe and puzzle8, DefaultPositions for
	// connect4, DefaultPositions6 for othello, all 5,184 of mastermind,
	// DefaultDraws for lottery, DefaultCommands for commands.
	Positions int
	// Depth is the search depth of connect4 and othello in plies, 0 for
	// DefaultDepth and DefaultDepth6. The other tasks take no depth.
	Depth int
	// Format is one of Formats, "" for the task's own.
	Format string
	// Seed selects the games that positions are taken from, the
	// prompts of commands, and the sample of a puzzle8 or tictactoe cut short
	// by Positions.
	Seed uint64
}

// QuickPositions is the size of a quick set.
const QuickPositions = 20_000

// Quick returns the options of a quick set, which every task generates and
// labels within seconds: all of tictactoe, QuickPositions of the others.
func Quick(seed uint64) Options { return Options{Positions: QuickPositions, Seed: seed} }

const (
	tictactoeName = "tictactoe"
	connect4Name  = "connect4"
	puzzle8Name   = "puzzle8"
	commandsName  = "commands"
	othelloName   = "othello"

	mastermindName = "mastermind"
	lotteryName    = "lottery"
)

// Names returns the names of all tasks.
func Names() []string {
	return []string{tictactoeName, connect4Name, puzzle8Name, othelloName, mastermindName, lotteryName, commandsName}
}

// Lookup returns the named task with its default options. The error is an
// *UnknownError.
func Lookup(name string) (Task, error) { return New(name, Options{}) }

// New returns the named task with the given options. The error is an
// *UnknownError, an *OptionError or a *FormatError.
func New(name string, o Options) (Task, error) {
	if !slices.Contains(Names(), name) {
		return nil, &UnknownError{Name: name, Known: Names()}
	}
	if o.Positions < 0 {
		return nil, &OptionError{Task: name, Option: "positions", Got: o.Positions, Want: "0 for the full set, or a positive number"}
	}
	if err := checkFormat(name, o.Format); err != nil {
		return nil, err
	}
	switch name {
	case connect4Name:
		return newConnect4(o)
	case othelloName:
		return newOthello(o)
	}
	if o.Depth != 0 {
		return nil, &OptionError{Task: name, Option: "depth", Got: o.Depth, Want: "0: this task has no search"}
	}
	switch name {
	case puzzle8Name:
		return newPuzzle8(o), nil
	case commandsName:
		return newCommands(o)
	case mastermindName:
		return &Mastermind{o}, nil
	case lotteryName:
		return newLottery(o)
	}
	return newTicTacToe(o), nil
}

// UnknownError reports a task name that does not exist.
type UnknownError struct {
	Name  string
	Known []string
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("task: unknown task %q; known tasks: %s", e.Name, strings.Join(e.Known, ", "))
}

// SplitError reports a split that does not exist.
type SplitError struct{ Split Split }

func (e *SplitError) Error() string {
	return fmt.Sprintf("task: unknown split %q; known splits: %s, %s, %s", string(e.Split), Train, Test, All)
}

// OptionError reports an option whose value a task cannot use.
type OptionError struct {
	Task, Option string
	Got          int
	Want         string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("task: %s: %s is %d, want %s", e.Task, e.Option, e.Got, e.Want)
}

// FormatError reports a format that a task does not have.
type FormatError struct{ Task, Format, Want string }

func (e *FormatError) Error() string {
	return fmt.Sprintf("task: %s: format is %q, want it %s", e.Task, e.Format, e.Want)
}

// OpponentError reports an opponent that a task does not have.
type OpponentError struct {
	Task, Opponent string
	Known          []string
}

func (e *OpponentError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("task: %s is a puzzle and has no opponents, got opponent %q", e.Task, e.Opponent)
	}
	return fmt.Sprintf("task: %s has no opponent %q; known opponents: %s", e.Task, e.Opponent, strings.Join(e.Known, ", "))
}

// PlayerNameError reports a way of playing that a puzzle does not have.
type PlayerNameError struct {
	Task, Player string
	Known        []string
}

func (e *PlayerNameError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("task: %s has one way to play it, got player %q", e.Task, e.Player)
	}
	return fmt.Sprintf("task: %s has no player %q; known players: %s", e.Task, e.Player, strings.Join(e.Known, ", "))
}

// PromptError reports a prompt that is no undecided position of a task.
type PromptError struct{ Task, Prompt, Reason string }

func (e *PromptError) Error() string {
	return fmt.Sprintf("task: %s: prompt %q: %s", e.Task, e.Prompt, e.Reason)
}

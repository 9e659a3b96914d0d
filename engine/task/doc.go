// Package task holds the problems that mito can set and mark without any
// downloaded data: tictactoe, connect4, puzzle8, othello and mastermind, and
// lottery, of which nothing can be learnt. Each one generates positions, labels
// them with a solver, splits them so that nothing in the test part was trained
// on, and scores a [Player] by letting it play.
//
// # Prompts
//
// Of most tasks a prompt has a fixed length, ends in '=' and is answered by one
// character. Every character of a board says both which cell it stands for and
// what lies there (the cell's own empty, own-stone or opponent-stone
// character), and always from the point of view of the side to move. A small
// transformer then needs neither exact positional attention nor a turn marker:
// the mean of the value vectors seen by the final '=' is already a linear
// function of the one-hot board. In tictactoe and connect4 an empty place is
// written with the character that answers "play here", so the legal answers
// are characters of the prompt. [Task.Describe] gives the exact tables.
//
// Some tasks have another format beside their own ([Formats]). In connect4's
// "moves", and in mastermind, a prompt is what was played so far, so that the
// prompts of a game continue one another: a model learns from all positions of a
// game in one pass over its moves. In puzzle8's "distance" the answer begins with
// the number of moves left. [FormatOf] tells a model's format by its characters.
//
// # Texts
//
// Where an answer is a text, of a user's examples ([NewExamples]) and of commands,
// a task is an [Exact]: prompts are of any length and end in '=' too, and the
// end-of-text token ends an answer. It is scored by exact match on the held-out
// prompts, and by a program of the user's ([Scorer]). Nothing is played.
// Examples are split by the words of their prompts, commands by phrasing.
//
// # Labels
//
// tictactoe and puzzle8 are solved exactly, over all 5,478 and all 181,440
// reachable positions. connect4 is searched to a stated depth: a label is
// exact where the search proved a win or a loss or reached the end of the game
// in every line, and is the search's best judgement elsewhere.
// [Connect4.ExactShare] tells how many labels of a set are proven. othello is
// searched likewise. mastermind's are the guesses of one breaker, whose games are
// a tree of 1,296.
//
// # Splits
//
// A position is assigned to the test part by a hash of its orbit under the
// symmetries of its board (8 for tictactoe and othello, 2 for connect4 and
// puzzle8; names of colours and order of pegs for mastermind), so the mirror
// image of a test position is a test position too. In puzzle8's "distance" the
// boards within 10 moves of the goal, through which every solution goes, are
// never held out. The assignment does
// not depend on any seed: two runs with different seeds never leak into each
// other.
//
// # Randomness
//
// Everything random comes from a PCG generator seeded by the caller's seed and
// the number of the game, so a result depends on neither the number of threads
// nor on how games are batched.
//
// Of mito it imports engine/data only. A test holds it to that.
package task

// Package task holds the problems that mito can set and mark without any
// downloaded data: tictactoe, connect4 and puzzle8. Each one generates
// positions, labels them with a solver, splits them so that nothing in the
// test part was trained on, and scores a [Player] by letting it play.
//
// # Prompts
//
// A prompt has a fixed length per task, ends in '=' and is answered by one
// character. Every character of a board says both which cell it stands for and
// what lies there (the cell's own empty, own-stone or opponent-stone
// character), and always from the point of view of the side to move. A small
// transformer then needs neither exact positional attention nor a turn marker:
// the mean of the value vectors seen by the final '=' is already a linear
// function of the one-hot board. In tictactoe and connect4 an empty place is
// written with the character that answers "play here", so the legal answers
// are characters of the prompt. [Task.Describe] gives the exact tables.
//
// # Labels
//
// tictactoe and puzzle8 are solved exactly, over all 5,478 and all 181,440
// reachable positions. connect4 is searched to a stated depth: a label is
// exact where the search proved a win or a loss or reached the end of the game
// in every line, and is the search's best judgement elsewhere.
// [Connect4.ExactShare] tells how many labels of a set are proven.
//
// # Splits
//
// A position is assigned to the test part by a hash of its orbit under the
// symmetries of its board (8 for tictactoe, 2 for connect4 and puzzle8), so the
// mirror image of a test position is a test position too. The assignment does
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

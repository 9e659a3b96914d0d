// Package eval judges models that decode runs: losses over held-out data, players of tasks, and speeds.
//
// It imports engine/decode, engine/grammar for legal answers, and engine/data, engine/task and engine/tokenizer for what is judged; nothing that trains. A test
// holds it to that.
package eval

package task

import "slices"

// sortedAlphabet returns the characters of s in increasing order, each once.
func sortedAlphabet(s string) string {
	r := []rune(s)
	slices.Sort(r)
	return string(slices.Compact(r))
}

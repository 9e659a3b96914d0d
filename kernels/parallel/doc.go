// Package parallel runs index ranges on a fixed set of goroutines.
//
// A [Task] computes disjoint ranges, so its results cannot depend on how the range was split or on the number of
// threads: mito splits rows and columns and never a reduction. A task is a struct that its owner reuses, which is why
// it is an interface and not a closure: running it allocates nothing.
//
// A [FreeList] keeps the work areas of such tasks between runs.
package parallel

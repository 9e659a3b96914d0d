// Package memlimit tells how much memory this process may use, so that a size that cannot be had is refused with a number
// instead of ending in the kernel's OOM killer.
//
// [Process] asks every limit that the system sets: the control groups of the process (version 1 and 2), RLIMIT_AS and
// RLIMIT_DATA on Linux, job objects on Windows, and the physical memory of the machine. Swap is not counted: a training
// run that swaps does not end.
//
// Everything from the seam of backends up to the commands may ask, so the package imports the standard library and
// golang.org/x/sys only.
package memlimit

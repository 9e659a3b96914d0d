// Package kerneltest is what the tests of the CPU kernels share: operands that end at an unreadable page, sweeps over
// sizes, comparators with derived tolerances, and a loop over the variants.
//
// An operand from [Guarded] lies so that the byte before it or the byte behind it belongs to a page that can neither
// be read nor written (Linux), or is a word whose value is checked when the test ends (elsewhere). A kernel that touches
// anything but its operands therefore crashes or fails the test.
//
// variants.txt lists every variant of every kernel package, a line each: ARCHITECTURE/PACKAGE/VARIANT. A new kernel
// package or variant is added there; TestListedIsWhatTheBuildHas says which line is missing. [Variants] logs what ran, and
// .ci/run compares the logs of all its runs with the list.
package kerneltest

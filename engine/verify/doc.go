// Package verify proves that an INT8 student computes the same bits in every way that this machine can run it.
package verify

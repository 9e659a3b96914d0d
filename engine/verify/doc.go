// Package verify proves that an INT8 student computes the same bits in every way that this machine can run it.
//
// It imports engine/student, engine/student/seam, the backends' interface and the switch of kernel variants. A test holds it to
// that.
package verify

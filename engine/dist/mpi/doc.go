// Package mpi is the engine of package dist over MPI, on the memory of a CPU. It is there with the tag dist, on Linux and macOS.
//
// It uses the standard ABI of MPI 5.0, chapter 20: constants and signatures that are the same for every library that has it, such as
// MPICH 5.0. The library is found by dlopen when a group is opened, so that no C compiler is needed and a program that runs alone
// loads nothing. An older library, whose constants are its own, is refused.
//
// Of mito it imports engine/dist only. A test holds it to that.
package mpi

// Names are those that the library is looked for by.
var Names = []string{"libmpi_abi.so.1", "libmpi_abi.so", "libmpi_abi.1.dylib", "libmpi_abi.dylib"}

// Package join opens the engine that fits a backend and connects the ranks. It is there with the tag dist, on Linux and macOS.
//
// The hub of ranks of one machine listens on its loopback. Where ranks run on several machines, rank 0 listens on all its addresses;
// who connects must show a secret that the ranks got from it over MPI. For NCCL, whose library has to be told where rank 0 is, the
// secret is made of what the launcher says to all ranks, which keeps runs apart and is no protection against who reads that.
//
// Of mito it imports backend, engine/dist, engine/dist/mpi and engine/dist/nccl only. A test holds it to that.
package join

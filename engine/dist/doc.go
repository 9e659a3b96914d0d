// Package dist runs one training on several processes, on one machine or many, and gives bitwise the weights of one process.
//
// Each process is a rank with a whole model. A batch is cut into pieces in the order of its rows; each rank passes forward and
// backward over some of them. How the gradients are added up is the difference between the two ways:
//
//   - Ordered, the default. On the CPU the gradient of one process is, for every element, one chain of sums over the tokens of the
//     batch in their order (package backend). The ranks build the same chain: for each parameter, the first piece's rank sends its
//     sums to the second piece's, which goes on from there, and so on; the last one's are the gradient of the batch, which all get.
//     No tree over ranks could have these bits: it would add in another order than one process does, and a run would have other
//     weights for every number of ranks. A parameter is sent when its part of the backward pass is done, while that goes on, so that
//     a rank is behind the one before it by one product, not by a pass; until the sums arrive it computes the gradient of its
//     inputs first. With M micro-batches a rank, R ranks send M·R-1 gradients a step.
//   - Fast. Each rank adds up its own pieces, and the engine's all-reduce adds up the ranks': one a step. Its order, and with it the
//     bits, follow the number of ranks and the machines' topology.
//
// Muon's matrices are divided among the ranks and the results exchanged; everything else of an update every rank does by itself.
//
// An Engine moves tensors: MPI on CPUs, NCCL on GPUs (packages mpi and nccl, which need the tag dist). A Hub carries what is small,
// compares what ranks must have in common before the first step, and notices at once when a process ends: MPI and NCCL would wait
// for it.
//
// Of mito it imports backend and engine/train only. A test holds it to that.
package dist

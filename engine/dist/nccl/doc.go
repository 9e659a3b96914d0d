// Package nccl is the engine of package dist over NCCL, between GPUs. It is there with the tag dist, on Linux.
//
// The library is found by dlopen when a group is opened. Whatever it does is queued on the stream of the backend, in order with the
// backend's own work, so that nothing waits on the host.
//
// A message of NCCL holds up its stream until the other side takes it. In order, ranks therefore have one micro-batch each: with more,
// a rank would wait to send to one that waits to send to it.
//
// Nothing here has run on a GPU. What is tested without one is that the library is found, that its functions are there and that it
// makes an id; bench/ranks_gpu.sh is the rest of the test, for a machine that has two GPUs.
//
// Of mito it imports engine/dist only. A test holds it to that.
package nccl

// Names are those that the library is looked for by.
var Names = []string{"libnccl.so.2", "libnccl.so"}

//go:build cuda

package cudax

// #include <cuda.h>
import "C"

import "gorgonia.org/cu"

// Graph is a recorded sequence of operations that one call enqueues again.
type Graph struct {
	exec  C.CUgraphExec
	nodes int
}

// BeginCapture makes s record what is enqueued on it instead of executing it.
func BeginCapture(s cu.Stream) error {
	return result(C.cuStreamBeginCapture(streamOf(s), C.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))
}

// EndCapture ends the recording and returns what was recorded. The stream is back in its ordinary state afterwards,
// also where EndCapture fails.
func EndCapture(s cu.Stream) (*Graph, error) {
	var graph C.CUgraph
	if err := result(C.cuStreamEndCapture(streamOf(s), &graph)); err != nil {
		return nil, err
	}
	defer C.cuGraphDestroy(graph)
	var nodes C.size_t
	if err := result(C.cuGraphGetNodes(graph, nil, &nodes)); err != nil {
		return nil, err
	}
	g := &Graph{nodes: int(nodes)}
	// cuGraphInstantiate has other parameters since CUDA 12; this one has not changed since 11.4.
	if err := result(C.cuGraphInstantiateWithFlags(&g.exec, graph, 0)); err != nil {
		return nil, err
	}
	return g, nil
}

// Nodes is the number of operations recorded.
func (g *Graph) Nodes() int { return g.nodes }

// Launch enqueues the graph on s.
func (g *Graph) Launch(s cu.Stream) error { return result(C.cuGraphLaunch(g.exec, streamOf(s))) }

// Destroy releases the graph.
func (g *Graph) Destroy() error {
	if g.exec == nil {
		return nil
	}
	err := result(C.cuGraphExecDestroy(g.exec))
	g.exec = nil
	return err
}

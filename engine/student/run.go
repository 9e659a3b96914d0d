package student

import "mito/kernels/parallel"

// Run runs a task on the model's threads. Sessions used in it compute on the thread that uses them: for work that has
// enough sequences to keep every thread busy.
func (m *Model) Run(n, grain int, t parallel.Task) { m.pool.Run(n, grain, t) }

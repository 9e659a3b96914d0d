// Package bench measures mito on the machine it runs on: kernels, decoding, training and what the efficiency
// techniques bring, each rate beside the limit of the hardware.
//
// A limit is measured in the same run, immediately before what it limits: fused multiply-adds in registers, INT8
// multiply-adds in registers, or one thread only reading a buffer as large as the weights (package peak). A run is a
// number of rounds; each round measures every row once, so that whatever else the machine does meets all rows alike.
// Inside a round the fastest of a few repetitions counts, for the limit and for the row; over the rounds the median
// does, of the rate and of its share of the limit. README.md says how to compare two versions.
package bench

package cuda

import "strings"

// Card is what a model of a card knows: how work is cut for it, and its peaks as NVIDIA's data sheets give them.
type Card struct {
	ID           string // for flags
	Name         string
	Major, Minor int   // compute capability
	Processors   int   // multiprocessors
	MaxShared    int   // bytes of shared memory that a block may ask for
	Memory       int64 // bytes

	Bandwidth  float64 // of memory, bytes/s
	TensorBF16 float64 // FLOP/s of tensor cores, bfloat16 with sums in float32, without sparsity
	Float32    float64 // FLOP/s of ordinary float32
}

// Cards lists the cards that there are models of. Sources: NVIDIA's data sheets of H100 SXM5, H200 SXM and A100 SXM4 80 GB,
// and the Ada whitepaper for the RTX 4090.
func Cards() []Card {
	return []Card{
		{"h100", "NVIDIA H100 SXM5", 9, 0, 132, 227 << 10, 80e9, 3.35e12, 989.4e12, 66.9e12},
		{"h200", "NVIDIA H200 SXM", 9, 0, 132, 227 << 10, 141e9, 4.8e12, 989.4e12, 66.9e12},
		{"a100", "NVIDIA A100 SXM4 80 GB", 8, 0, 108, 163 << 10, 80e9, 2.039e12, 312e12, 19.5e12},
		{"rtx4090", "NVIDIA GeForce RTX 4090", 8, 9, 128, 99 << 10, 24e9, 1.008e12, 165.2e12, 82.6e12},
	}
}

// CardIDs lists the names by which flags choose a card.
func CardIDs() []string {
	var ids []string
	for _, c := range Cards() {
		ids = append(ids, c.ID)
	}
	return ids
}

// CardByID finds a card.
func CardByID(id string) (Card, bool) {
	for _, c := range Cards() {
		if strings.EqualFold(c.ID, id) {
			return c, true
		}
	}
	return Card{}, false
}

package bench

import (
	"fmt"
	"strings"
)

// gpuModelFirst is what a file of models begins with.
const gpuModelFirst = `# Modelled steps on a GPU

Nothing here was measured. ` + "`mito bench gpu-model`" + ` records a training step as it would be sent to a card and adds up, for every
launch, its arithmetic and each byte of its operands once; a launch takes as long as the busiest of memory, tensor cores and float32 units
at the peak of the card's data sheet. A real step takes longer: no kernel reaches a peak, and the time between launches is left out.
Vocabulary 65, 64 rows of 256 tokens.
`

func (m *GPUModel) heading() string {
	return fmt.Sprintf("## Modelled: %s, %s, %s on %s", m.Step, m.Optimizer, m.Precision, m.Card)
}

// Totals says the sums in a line.
func (m *GPUModel) Totals() string {
	return fmt.Sprintf("modelled: %d launches and %d copies in %d calls, %.1f GFLOP, %.2f GB, %.2f ms by roofline, %.2f M tokens/s at most",
		m.Launches, m.Copies, m.Calls, m.GFLOP, m.GB, m.Millis, m.TokensPerS/1e6)
}

// Markdown writes the model as a section.
func (m *GPUModel) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s.\n\n", m.heading(), m.Totals())
	b.WriteString("| operation | kernel | grid and sizes | launches | GFLOP | MB | modelled µs | limit |\n|---|---|---|---|---|---|---|---|\n")
	for _, k := range m.Kinds {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %.2f | %.1f | %.1f | %s |\n", k.Op, k.Kernel, k.Shape, k.Count, k.GFLOP, k.MB, k.Micros, k.Limit)
	}
	return b.String()
}

// UpdateGPUModel puts a model into a file, in place of the section of the same step on the same card or at the end.
func UpdateGPUModel(file string, m *GPUModel) string {
	return updateSection(file, m.heading(), m.Markdown(), gpuModelFirst)
}

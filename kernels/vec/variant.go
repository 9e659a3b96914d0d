package vec

import "mito/kernels/isa"

//go:generate go run -C ../_asm ./vec -out ../vec/vec_amd64.s -stubs ../vec/stubs_amd64.go -pkg vec
//go:generate go run -C ../_asm ./vecneon -out ../vec/vec_arm64.s -stubs ../vec/stubs_arm64.go -pkg vec

const levelGeneric = 0

var dispatcher = isa.New("vec", append([]isa.Impl[int]{{Name: isa.Generic, Funcs: levelGeneric}}, implementations()...)...)

// level repeats the dispatcher's choice. A branch on it costs less than a call through a pointer, and lets callers keep their
// slices on the stack.
var level = *dispatcher.Funcs()

func init() { dispatcher.OnChoice(func(chosen *int) { level = *chosen }) }

// Variants lists the variants that this processor can run, slowest first.
func Variants() []string { return dispatcher.Variants() }

// Variant returns the chosen variant; at first the last of Variants.
func Variant() string { return dispatcher.Variant() }

// SetVariant chooses a variant by name, for tests, verification and benchmarks. It must not run while a kernel does.
func SetVariant(name string) error { return dispatcher.SetVariant(name) }

package cuda

// Kernel names a kernel of the Table.
type Kernel int

// Entry describes a kernel to the launcher.
type Entry struct {
	Name   string // entry point in the PTX
	Module string // source and PTX file without extension
	Params string // one letter a parameter: l 8 bytes (pointer or long long), i int, f float
}

func (k Kernel) String() string { return Table[k].Name }

// Striding is how many blocks of 256 threads a processor holds at once of a kernel whose threads stride over elements; the
// source asks the compiler for as many (EXPORT_STRIDING).
func (k Kernel) Striding() int {
	switch k {
	case AdamWF32, ReLU2OutputBackwardF32:
		return 6
	}
	return 8
}

package pipeline

// Progress hears how far a job has come. A nil Progress is not allowed; use Silent.
type Progress interface {
	// Start begins a stage of total units; total 0 means that its length is not known.
	Start(stage string, total int)
	// Update says how many units are done, with a few words on the state.
	Update(done int, note string)
	// End closes the stage with its result.
	End(result string)
}

// Silent hears nothing.
type Silent struct{}

func (Silent) Start(string, int)  {}
func (Silent) Update(int, string) {}
func (Silent) End(string)         {}

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

// Stopped is the result of a stage that failed or was interrupted.
const Stopped = "stopped"

// stage runs a stage and ends it, whatever comes of it.
func stage(p Progress, name string, total int, run func() (result string, err error)) error {
	p.Start(name, total)
	result, err := run()
	if err != nil {
		result = Stopped
	}
	p.End(result)
	return err
}

// Silent hears nothing.
type Silent struct{}

func (Silent) Start(string, int)  {}
func (Silent) Update(int, string) {}
func (Silent) End(string)         {}

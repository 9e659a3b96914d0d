package main

import "testing"

// What a launcher started as one of several processes does not train by itself beside the others: they would write into one folder.
func TestRanksNeedTheirTag(t *testing.T) {
	if openRanks != nil {
		t.Skip("built with -tags dist")
	}
	line := []string{"train", "--task", "tictactoe", "--positions", "100", "--arch", "micro", "--steps", "1", "--batch", "4", "--out", "out"}
	for _, vars := range [][2]string{{"RANK", "WORLD_SIZE"}, {"SLURM_PROCID", "SLURM_NTASKS"}, {"PMI_RANK", "PMI_SIZE"}} {
		t.Run(vars[0], func(t *testing.T) {
			t.Setenv(vars[0], "1")
			t.Setenv(vars[1], "2")
			fails(t, "", exitFailure, []string{"rank 1 of 2", "-tags dist", "--ranks none"}, line...)
			works(t, "", append(line, "--ranks", "none")...)
			t.Setenv(vars[1], "many")
			fails(t, "", exitFailure, []string{vars[1], "many", "--ranks none"}, line...)
			t.Setenv(vars[1], "1")
			t.Setenv(vars[0], "0")
			works(t, "", line...)
		})
	}
}

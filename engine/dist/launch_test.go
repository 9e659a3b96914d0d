package dist

import (
	"strings"
	"testing"
)

func TestDiscover(t *testing.T) {
	for name, c := range map[string]struct {
		env  string
		want Launch
		err  string
	}{
		"nothing":        {"", Launch{Size: 1}, ""},
		"half":           {"RANK=1", Launch{Size: 1}, ""},
		"torchrun":       {"RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=node7 MASTER_PORT=1234", Launch{By: "torchrun", Rank: 3, Size: 4, Local: 1, LocalSize: 2, Address: "node7:1235", AddressFrom: "MASTER_ADDR and MASTER_PORT+1"}, ""},
		"its own port":   {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=::1", Launch{By: "torchrun", Size: 2, Address: "[::1]:29501", AddressFrom: "MASTER_ADDR and MASTER_PORT+1"}, ""},
		"Slurm":          {"SLURM_PROCID=1 SLURM_NTASKS=2 SLURM_LOCALID=0", Launch{By: "Slurm", Rank: 1, Size: 2}, ""},
		"MPICH":          {"PMI_RANK=1 PMI_SIZE=2", Launch{By: "MPI", Rank: 1, Size: 2}, ""},
		"Open MPI":       {"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1", Launch{By: "MPI", Rank: 1, Size: 2, Local: 1}, ""},
		"MPI in Slurm":   {"PMI_RANK=1 PMI_SIZE=2 SLURM_PROCID=0 SLURM_NTASKS=1", Launch{By: "MPI", Rank: 1, Size: 2}, ""},
		"no number":      {"RANK=x WORLD_SIZE=2", Launch{}, `RANK is "x"`},
		"negative":       {"RANK=-1 WORLD_SIZE=2", Launch{}, `RANK is "-1"`},
		"too large":      {"RANK=2 WORLD_SIZE=2", Launch{}, "below the number of ranks"},
		"none":           {"SLURM_PROCID=0 SLURM_NTASKS=0", Launch{}, "below the number of ranks"},
		"bad port":       {"RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=70000", Launch{}, `MASTER_PORT is "70000"`},
		"bad local rank": {"RANK=0 WORLD_SIZE=2 LOCAL_RANK=y", Launch{}, `LOCAL_RANK is "y"`},
	} {
		env := map[string]string{}
		for _, v := range strings.Fields(c.env) {
			key, value, _ := strings.Cut(v, "=")
			env[key] = value
		}
		got, err := Discover(func(name string) string { return env[name] })
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %v, want %q", name, err, c.err)
		case c.err == "" && (err != nil || got != c.want):
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

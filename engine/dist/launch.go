package dist

import (
	"fmt"
	"net"
	"strconv"
)

// Launch is what a launcher told this process.
type Launch struct {
	By          string // MPI, torchrun or Slurm; "" where there is none
	Rank, Size  int
	Local       int    // which of the processes of this machine
	LocalSize   int    // processes of this machine; 0 where it was not told
	Address     string // host and port of rank 0's machine, where it was told; torchrun keeps the port to itself
	AddressFrom string // which variable said so
}

// launchers are the conventions, in the order in which they are looked for: what starts the process itself comes first.
var launchers = []struct {
	by, rank, size, local, localSize string
}{
	{"MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
	{"MPI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
	{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
	{"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"},
}

// Discover finds the launcher of this process in its environment, which getenv reads. Without one the size is 1. Errors: a rank or
// a size that cannot be.
func Discover(getenv func(string) string) (Launch, error) {
	for _, l := range launchers {
		if getenv(l.rank) == "" || getenv(l.size) == "" {
			continue
		}
		out := Launch{By: l.by}
		for _, v := range []struct {
			to   *int
			name string
			must bool
		}{{&out.Rank, l.rank, true}, {&out.Size, l.size, true}, {&out.Local, l.local, false}, {&out.LocalSize, l.localSize, false}} {
			text := getenv(v.name)
			if text == "" && !v.must {
				continue
			}
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				return out, fmt.Errorf("dist: %s is %q, want a whole number, 0 or more", v.name, text)
			}
			*v.to = n
		}
		if out.Size < 1 || out.Rank >= out.Size {
			return out, fmt.Errorf("dist: %s is %d and %s is %d: a rank counts from 0 and is below the number of ranks", l.rank, out.Rank, l.size, out.Size)
		}
		return out, out.address(getenv)
	}
	return Launch{Size: 1}, nil
}

// address reads where rank 0 is.
func (l *Launch) address(getenv func(string) string) error {
	host, port := getenv("MASTER_ADDR"), getenv("MASTER_PORT")
	if host == "" {
		return nil
	}
	n := 29500 // torchrun's own default
	if port != "" {
		var err error
		if n, err = strconv.Atoi(port); err != nil || n < 1 || n > 65534 {
			return fmt.Errorf("dist: MASTER_PORT is %q, want a port below 65535", port)
		}
	}
	// torchrun listens on the port itself.
	l.Address, l.AddressFrom = net.JoinHostPort(host, strconv.Itoa(n+1)), "MASTER_ADDR and MASTER_PORT+1"
	return nil
}

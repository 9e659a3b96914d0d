//go:build cuda

package cudrv

import (
	"os"
	"regexp"
	"testing"
)

// Every function that the header declares has a forwarder, or the program would not link where it is called.
func TestNames(t *testing.T) {
	header, err := os.ReadFile("../include/cuda_functions.h")
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadFile("names.h")
	if err != nil {
		t.Fatal(err)
	}
	forwarded := map[string]bool{"cuInit": true}
	for _, m := range regexp.MustCompile(`X\((\w+)\)`).FindAllSubmatch(names, -1) {
		forwarded[string(m[1])] = true
	}
	declared := regexp.MustCompile(`CUresult (cu\w+)\(`).FindAllSubmatch(header, -1)
	if len(declared) < 100 {
		t.Fatalf("only %d functions declared", len(declared))
	}
	for _, m := range declared {
		if !forwarded[string(m[1])] {
			t.Errorf("%s is declared and not forwarded", m[1])
		}
	}
}

// Where the driver is missing, the reason says so; where it is there, it has what every driver has.
func TestAvailable(t *testing.T) {
	err := Available()
	if err != nil {
		if len(err.Error()) < 10 {
			t.Errorf("the reason %q says too little", err)
		}
		if Has("cuLaunchKernel") {
			t.Error("an entry point without a driver")
		}
		t.Skip(err)
	}
	if !Has("cuLaunchKernel") || Has("cuNoSuchFunction") {
		t.Errorf("Has: cuLaunchKernel %v, cuNoSuchFunction %v", Has("cuLaunchKernel"), Has("cuNoSuchFunction"))
	}
}

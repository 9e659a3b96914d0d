package kerneltest

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

var sink int8

var nan, inf = math.NaN(), math.Inf(1)

func TestCloseCanFail(t *testing.T) {
	tol := func(int) float64 { return 1e-6 }
	tests := []struct {
		name string
		got  []float32
		want []float64
		tol  func(int) float64
		ok   bool
	}{
		{"equal", []float32{1, 2}, []float64{1, 2}, tol, true},
		{"within", []float32{1}, []float64{1 + 9e-7}, tol, true},
		{"beyond", []float32{1}, []float64{1 + 2e-6}, tol, false},
		{"last beyond", []float32{0, 0, 1}, []float64{0, 0, 2}, tol, false},
		{"length", []float32{1}, []float64{1, 2}, tol, false},
		{"nan for nan", []float32{float32(nan)}, []float64{nan}, tol, true},
		{"nan for number", []float32{float32(nan)}, []float64{1}, tol, false},
		{"number for nan", []float32{1}, []float64{nan}, tol, false},
		{"inf for inf", []float32{float32(inf)}, []float64{inf}, tol, true},
		{"wrong inf", []float32{float32(-inf)}, []float64{inf}, tol, false},
		{"nan tolerance", []float32{1}, []float64{1}, func(int) float64 { return nan }, false},
	}
	for _, tt := range tests {
		if err := Close(tt.got, tt.want, tt.tol); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestBitsCanFail(t *testing.T) {
	zero := float32(0)
	tests := []struct {
		name      string
		got, want []float32
		ok        bool
	}{
		{"equal", []float32{1, -2}, []float32{1, -2}, true},
		{"one bit", []float32{1}, []float32{math.Nextafter32(1, 2)}, false},
		{"negative zero", []float32{zero}, []float32{float32(math.Copysign(0, -1))}, false},
		{"nan for nan", []float32{float32(nan)}, []float32{math.Float32frombits(0x7fc12345)}, true},
		{"nan for number", []float32{float32(nan)}, []float32{1}, false},
		{"length", nil, []float32{1}, false},
	}
	for _, tt := range tests {
		if err := Bits(tt.got, tt.want); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if Equal([]int8{1, 2}, []int8{1, 3}) == nil || Equal([]int8{1}, []int8{1, 1}) == nil || Equal([]int8{5}, []int8{5}) != nil {
		t.Error("Equal does not tell")
	}
}

// The tolerance must cover what float32 sums really lose and must not cover a lost term.
func TestSumTolerance(t *testing.T) {
	r := Rand(t.Name())
	for _, n := range []int{1, 2, 17, 256, 4096} {
		for range 20 {
			x := Normal(r, make([]float32, n))
			var sum float32
			var exact, abs float64
			for _, v := range x {
				sum += v
				exact += float64(v)
				abs += math.Abs(float64(v))
			}
			tol := func(int) float64 { return SumTolerance(n, abs) }
			if err := Close([]float32{sum}, []float64{exact}, tol); err != nil {
				t.Errorf("n %d: %v", n, err)
			}
			if n > 1 && Close([]float32{sum - x[n/2] - 0.1}, []float64{exact}, tol) == nil {
				t.Errorf("n %d: a wrong term passes", n)
			}
		}
	}
}

func TestGuardedIsWritableAndPlaced(t *testing.T) {
	for _, side := range Sides {
		for _, n := range []int{1, 7, 1024, 5000} {
			s := GuardedAt[float32](t, n, side, 3)
			for i := range s {
				if s[i] != 0 {
					t.Fatal("not zeroed")
				}
				s[i] = 1
			}
		}
	}
	if runtime.GOOS != "linux" {
		return
	}
	page := uintptr(os.Getpagesize())
	s := Guarded[int8](t, 33, End)
	if (uintptr(unsafe.Pointer(&s[0]))+33)%page != 0 {
		t.Error("End does not end at a page")
	}
	if s = Guarded[int8](t, 33, Begin); uintptr(unsafe.Pointer(&s[0]))%page != 0 {
		t.Error("Begin does not begin at a page")
	}
}

// The guard must really stop a process that steps over it.
func TestGuardKills(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("guard pages exist on linux only")
	}
	if mode := os.Getenv("KERNELTEST_STEP_OVER"); mode != "" {
		side, off := End, 8
		if mode == "begin" {
			side, off = Begin, -1
		}
		s := Guarded[int8](t, 8, side)
		sink = *(*int8)(unsafe.Add(unsafe.Pointer(&s[0]), off))
		return // reached only when the guard does not work
	}
	for _, mode := range []string{"end", "begin"} {
		if out, err := runAgain(t, "KERNELTEST_STEP_OVER="+mode); err == nil || !strings.Contains(out, "fault") {
			t.Errorf("%s: a read behind the guard went unnoticed: %v\n%s", mode, err, out)
		}
	}
}

// runAgain runs the calling test in a process of its own and returns what it writes. It skips the caller where the
// program cannot start itself, as under an emulator.
func runAgain(t *testing.T, env string) (string, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Skipf("this program cannot start itself: %v", err)
	}
	return string(out), err
}

func TestSizes(t *testing.T) {
	s := Sizes(4, 100)
	want := []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 96, 97}
	if !slices.Equal(s, want) {
		t.Errorf("got %v", s)
	}
}

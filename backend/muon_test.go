package backend

import (
	"errors"
	"math"
	"testing"
)

// A plan counts tiles and places as its table tells the kernels; wide matrices come first, as they were given.
func TestPlanMuon(t *testing.T) {
	plan, err := PlanMuon(MuonMatrix{7, 130, 60, 2}, MuonMatrix{9000, 65, 200, 1}, MuonMatrix{30000, 3, 3, 0.5})
	if err != nil {
		t.Fatal(err)
	}
	want := []int32{
		9000, 65, 200, 0, 0, int32(math.Float32bits(1)), 0, 0,
		30000, 3, 3, 13056, 4288, int32(math.Float32bits(0.5)), 3, 8,
		7, 130, 60, 13120, 4352, int32(math.Float32bits(2)), 4, 9,
	}
	if len(plan.Table()) != len(want) {
		t.Fatalf("table %v", plan.Table())
	}
	for i, v := range plan.Table() {
		if v != want[i] {
			t.Errorf("row %d, column %d: %d, want %d", i/MuonColumns, i%MuonColumns, v, want[i])
		}
	}
	if plan.Wide() != 2 || plan.SquareTiles(0, 2) != 4 || plan.SquareTiles(2, 3) != 1 || plan.Tiles() != 12 || plan.Work() != 2*(13120+7808)+2*(4352+3648) {
		t.Errorf("%+v", plan)
	}
	for _, bad := range []MuonMatrix{{-1, 2, 2, 1}, {0, 0, 2, 1}, {0, 2, -1, 1}, {math.MaxInt32 - 3, 2, 2, 1}} {
		if _, err := PlanMuon(bad); !errors.Is(err, ErrArgument) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

package train

import (
	"errors"
	"math"
	"testing"
)

// A loss counts as diverged when it is ten nats above that of a guess, and the errors of both kinds are ErrDiverged.
func TestCheckLoss(t *testing.T) {
	uniform := math.Log(65)
	for loss, diverged := range map[float64]bool{
		0: false, uniform: false, uniform + 9.9: false, uniform + 10.1: true, 62282: true, math.Inf(1): true, math.NaN(): true,
	} {
		err := CheckLoss(7, loss, 65)
		var lossError *LossError
		if errors.As(err, &lossError) != diverged || errors.Is(err, ErrDiverged) != diverged {
			t.Errorf("loss %v: %v", loss, err)
		}
		if diverged && (lossError.Step != 7 || lossError.Uniform != uniform) {
			t.Errorf("loss %v: %+v", loss, lossError)
		}
	}
	if !errors.Is(&DivergedError{}, ErrDiverged) {
		t.Error("a run with numbers that are not finite is not ErrDiverged")
	}
}

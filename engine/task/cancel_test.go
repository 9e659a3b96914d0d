package task

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// within runs f, cancels its context after a while, and fails unless it then ends within a second with the context's error.
func within(t *testing.T, what string, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	time.Sleep(200 * time.Millisecond)
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want that it was cancelled", what, err)
		}
	case <-time.After(time.Second):
		t.Errorf("%s: still at work a second after it was cancelled", what)
		<-done
	}
}

// A search to the greatest depth takes longer than anyone waits, in labelling and in an opponent's move.
func TestSearchesStop(t *testing.T) {
	task, err := newConnect4(Options{Positions: 4000, Depth: maxDepth4})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "examples", func(ctx context.Context) error {
		_, err := task.Examples(ctx, All)
		return err
	})
	within(t, "score", func(ctx context.Context) error {
		_, err := task.Score(ctx, RandomPlayer(1), ScoreOptions{Opponent: "depth-16"})
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, task := range small(t) {
		if _, err := task.Examples(ctx, All); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want that it was cancelled", task.Name(), err)
		}
	}
}

// What was stopped can be asked for again, and is what it would have been: neither a half set nor a wrong value in the
// search tables stays behind.
func TestStoppedLabelsAreMadeAnew(t *testing.T) {
	o := Options{Positions: 1500, Depth: 7, Seed: 4}
	whole, err := newConnect4(o)
	if err != nil {
		t.Fatal(err)
	}
	want := mustExamples(t, whole, All)
	stopped, err := newConnect4(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*3*time.Millisecond)
		if _, err := stopped.Examples(ctx, All); err == nil {
			t.Logf("made within %d ms", 3*(i+1))
		}
		cancel()
	}
	if got := mustExamples(t, stopped, All); !reflect.DeepEqual(got, want) {
		t.Error("labels differ after they were stopped")
	}
}

// Of several who ask at once one makes it; one that gives up does not keep the others from it. The clock is synctest's, which
// moves on only when all wait: the impatient one has begun before the others ask, on a busy machine too.
func TestMemo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m memo[int]
		made := 0
		produce := func(ctx context.Context) (int, error) {
			made++
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(30 * time.Millisecond):
				return 7, nil
			}
		}
		impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if v, err := m.get(impatient, produce); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %d, %v", v, err)
			}
		})
		time.Sleep(time.Millisecond)
		for range 5 {
			wg.Go(func() {
				if v, err := m.get(t.Context(), produce); v != 7 || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
			})
		}
		wg.Wait()
		if made != 2 {
			t.Errorf("made %d times, want once in vain and once", made)
		}
	})
}

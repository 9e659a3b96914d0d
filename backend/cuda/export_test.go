//go:build cuda && linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"time"

	"gorgonia.org/cu"
)

// LargeShapes are products, m, n and k, for which every card of 108 processors or more picks tiles of 128: the MLP of the 7M
// class over 2048 tokens, the gradient of its weight over 16384, and one with a tail on every side.
var LargeShapes = [][3]int{{2048, 1536, 384}, {384, 1536, 16384}, {2050, 1550, 385}}

// TileOf is the tile that a backend picks for a product.
func TileOf(b *Backend, m, n, k int) int {
	return tilingOf(m, n, k, b.card.processors, b.work.room()).tile
}

// CardOf is a card on paper with the numbers that a backend cuts its work by.
func CardOf(b *Backend) Card {
	c := &b.card
	return Card{Name: c.name, Major: c.major, Minor: c.minor, Processors: c.processors, MaxShared: c.maxShared, Memory: c.memory}
}

// DeviceTime measures by the device's own clock how long replays run: an event before and one behind each. The function that it
// returns ends that, waits, and gives the sum.
func DeviceTime(b *Backend) func() (time.Duration, error) {
	d, replay := b.machine.(*device), b.queue.replay
	var events [][2]cu.Event
	record := func(r recording) error {
		var e [2]cu.Event
		for i := range e {
			var err error
			if e[i], err = cu.MakeEvent(cu.DefaultEvent); err != nil {
				return err
			}
		}
		events = append(events, e)
		return errors.Join(e[0].Record(d.stream), replay(r), e[1].Record(d.stream))
	}
	hook := func(f func(recording) error) error {
		return b.queue.do("DeviceTime", func() error {
			b.queue.replay = f
			return nil
		})
	}
	begun := hook(record)
	return func() (busy time.Duration, err error) {
		if err := errors.Join(begun, hook(replay), b.Synchronize()); err != nil {
			return 0, err
		}
		err = b.queue.do("DeviceTime", func() error {
			for _, e := range events {
				ms, err := e[0].Elapsed(e[1])
				busy += time.Duration(ms * float64(time.Millisecond))
				if err := errors.Join(err, cu.DestroyEvent(&e[0]), cu.DestroyEvent(&e[1])); err != nil {
					return err
				}
			}
			return nil
		})
		return busy, err
	}
}

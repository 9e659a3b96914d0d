//go:build dist && (linux || darwin)

package main

import (
	"mito/backend"
	"mito/engine/dist"
	"mito/engine/dist/join"
)

func init() {
	openRanks = func(o rankOptions, b backend.Backend) (*dist.Ranks, error) {
		return join.Open(join.Options{Launch: o.launch, Library: o.library, Mode: o.mode, Facts: o.facts, Lost: o.lost}, b)
	}
}

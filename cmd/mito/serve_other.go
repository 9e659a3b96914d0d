package main

import (
	"io"

	"github.com/spf13/cobra"

	"mito/engine/pipeline"
	"mito/engine/trials"
)

// serveOptions are what serving the trials of a search takes.
type serveOptions struct {
	trials.ServeOptions
	dir     string // of the search
	version string
	job     searchJob
	files   map[string]string // by the name in the bundle
	alone   bool
	lines   bool // say where workers find the search
	stderr  io.Writer
}

// What a program that was built with -tags dist has, else nil.
var (
	serveTrials func(serveOptions) (pipeline.Pool, func(failed error) error, error)
	workTrials  func(cmd *cobra.Command, f *workerFlags, dir string) error
)

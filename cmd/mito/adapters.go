package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"mito/engine/compress/lora"
	"mito/engine/pipeline"
	"mito/engine/session/adapters"
)

// adapterFlags name adapters of a model: folders, each with a name where there are several.
type adapterFlags []string

func (f *adapterFlags) register(fs *pflag.FlagSet, more string) {
	fs.StringArrayVar((*[]string)(f), "adapter", nil, "folder of an adapter of the model, or NAME=FOLDER"+more)
}

// load reads the adapters for the model in dir. An adapter without a name has that of its folder.
func (f adapterFlags) load(dir string) ([]adapters.Adapter, error) {
	var dirs []pipeline.AdapterDir
	for _, text := range f {
		name, at, named := strings.Cut(text, "=")
		if !named {
			at = text
			if name = filepath.Base(filepath.Clean(text)); name == lora.RunDir {
				name = filepath.Base(filepath.Dir(filepath.Clean(text)))
			}
		}
		if name == "" || at == "" {
			return nil, usagef("--adapter is %q, want a folder or NAME=FOLDER", text)
		}
		dirs = append(dirs, pipeline.AdapterDir{Name: name, Dir: at})
	}
	return pipeline.OpenAdapters(dir, dirs)
}

package backend

import (
	"fmt"
	"sort"
	"strings"
	"sync"
)

// Opener opens a backend.
type Opener func(Options) (Backend, error)

var registry = struct {
	sync.Mutex
	openers map[string]Opener
}{openers: map[string]Opener{}}

// preference is the order in which Open("auto") tries the backends.
var preference = []string{"cuda", "cpu"}

// Register makes a backend available to Open. The packages of the backends call it when they are imported.
func Register(name string, open Opener) {
	registry.Lock()
	defer registry.Unlock()
	registry.openers[name] = open
}

// Names lists the registered backends.
func Names() []string {
	registry.Lock()
	defer registry.Unlock()
	names := make([]string, 0, len(registry.openers))
	for name := range registry.openers {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Open opens the named backend. "auto" takes the first of cuda and cpu that opens; the reasons why an earlier one
// did not are in skipped, for the user to see. A backend asked for by name is never replaced by another.
func Open(name string, o Options) (b Backend, skipped []error, err error) {
	if name != "auto" {
		b, err = open(name, o)
		return b, nil, err
	}
	for _, name := range preference {
		b, err = open(name, o)
		if err == nil {
			return b, skipped, nil
		}
		skipped = append(skipped, err)
	}
	return nil, skipped, fmt.Errorf("backend: no backend could be opened: %w", err)
}

func open(name string, o Options) (Backend, error) {
	registry.Lock()
	opener := registry.openers[name]
	registry.Unlock()
	if opener == nil {
		return nil, fmt.Errorf("backend: unknown backend %q; known: auto, %s", name, strings.Join(Names(), ", "))
	}
	b, err := opener(o)
	if err != nil {
		return nil, fmt.Errorf("backend: %s: %w", name, err)
	}
	return b, nil
}

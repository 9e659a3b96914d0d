// Package chromium opens pages in a headless Chromium, to try the pages that mito writes. It needs the program alone. [Open] speaks
// to a page while it runs.
package chromium

import (
	"errors"
	"os/exec"
)

// ErrNotFound says that no Chromium is installed.
var ErrNotFound = errors.New("no chromium, chromium-browser or google-chrome is installed")

// Find finds the program. Errors: ErrNotFound.
func Find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNotFound
}

// Package chromium opens pages in a headless Chromium, to try the pages that mito writes. It needs the program alone. [DOM] reads in
// the document that a page leaves what it did; [Open] speaks to a page while it runs.
package chromium

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
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

// DOM opens a page of the disk, with a fragment such as "#a=1" or "" behind its address, lets its scripts run for so long of their own
// time, and returns the document that they leave. Errors: ErrNotFound, those of the program with what it said.
func DOM(ctx context.Context, page, fragment string, budget time.Duration) (_ string, err error) {
	program, err := Find()
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(page)
	if err != nil {
		return "", err
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(profile)) }()
	address := url.URL{Scheme: "file", Path: path}
	cmd := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+profile,
		fmt.Sprintf("--virtual-time-budget=%d", budget.Milliseconds()), "--dump-dom", address.String()+fragment)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", program, err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

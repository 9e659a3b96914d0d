package web

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"mito/engine/internal/chromium"
)

// Opened is what a browser made of a page.
type Opened struct {
	Browser string // its name and version
	Says    string // of its digest
}

// patience is how long a page may take to open: the digest of a large model on a slow machine.
const patience = 10 * time.Minute

// Open opens a page in a browser without a window and waits until it has computed its digest. Errors: chromium.ErrNotFound, one that
// says what the page says where the digest differs, those of the browser.
func Open(ctx context.Context, path string) (o Opened, err error) {
	b, err := chromium.Open(ctx)
	if err != nil {
		return o, err
	}
	defer b.Close()
	var version struct{ Product string }
	if err := b.Call(ctx, "Browser.getVersion", nil, &version); err != nil {
		return o, err
	}
	o.Browser = version.Product
	if err := b.Navigate(ctx, address(path)); err != nil {
		return o, err
	}
	state, says, err := settled(ctx, b)
	if err != nil {
		return o, err
	}
	if state != "good" {
		return o, fmt.Errorf("opened in %s, the page says: %s", o.Browser, says)
	}
	o.Says = "says: " + says
	return o, nil
}

// address is the file's.
func address(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}

// settled waits until the page has checked its digest.
func settled(ctx context.Context, b *chromium.Browser) (state, says string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var got []string
		if err := b.Evaluate(ctx, "(p => p ? [p.dataset.state, p.textContent] : [])(document.getElementById('proof'))", &got); err != nil {
			return "", "", err
		}
		if len(got) == 2 && got[0] != "begun" {
			return got[0], got[1], nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return "", "", fmt.Errorf("the page does not say that it has opened: %w", ctx.Err())
		}
	}
}

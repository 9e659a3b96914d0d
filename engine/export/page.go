package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"mito/engine/export/web"
	"mito/engine/files"
	"mito/engine/internal/chromium"
	"mito/engine/student"
	"mito/engine/task"
)

// webPage is a page that runs a student.
var webPage = Format{
	Name: "web", About: "one HTML file that runs an INT8 student in a browser, offline, and lets people play its --task; the digest of mito verify",
	Student: true, Write: writePage, Prove: provePage,
}

// errNoText refuses a page without a tokenizer.
var errNoText = errors.New("--no-tokenizer: a page writes text, which it needs the tokenizer for")

func writePage(ctx context.Context, from *Source, out string, o Options) (*Result, error) {
	if o.NoTokenizer {
		return nil, &OptionError{errNoText.Error()}
	}
	if o.C.Task != "" {
		if _, err := task.BoardOf(o.C.Task, ""); err != nil {
			return nil, &OptionError{"--task: " + err.Error()}
		}
	}
	w, err := readStudent(from)
	if err != nil {
		return nil, err
	}
	m, err := student.New(w, student.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, err)
	}
	defer m.Close()
	digest, err := student.Digest(m, student.DigestOptions{Check: ctx.Err})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, err)
	}
	title := strings.TrimSuffix(filepath.Base(out), filepath.Ext(out))
	page, err := web.Write(w, from.Tok, web.Options{Title: title, Task: o.C.Task, Digest: digest})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Dir, err)
	}
	r := &Result{Format: "web", Dir: out, Architecture: "HTML", Digest: digest, Note: "open it in a browser: it needs no server, and loads nothing"}
	err = Into(out, func() error {
		return files.SaveFile(out, func(to io.Writer) error {
			_, err := to.Write(page)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return r, r.Measure()
}

// provePage opens what was written in a browser, where there is one, and says what it computed.
func provePage(ctx context.Context, out string, _ Options) (string, error) {
	got, err := web.Open(ctx, out)
	if errors.Is(err, chromium.ErrNotFound) {
		return err.Error() + ": the page was not opened, and the digest not compared", nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("opened in %s, it %s", got.Browser, got.Says), nil
}

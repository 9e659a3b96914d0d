package chromium

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// Browser is a running Chromium with one page, driven through the pipe that --remote-debugging-pipe opens: messages of the DevTools
// protocol (chromedevtools.github.io/devtools-protocol) in JSON, each with a zero byte behind it. Its methods may be called from several goroutines.
type Browser struct {
	cmd     *exec.Cmd
	profile string
	in      io.WriteCloser
	session string
	done    chan struct{} // closed when the browser says no more

	mu      sync.Mutex
	last    int
	waiting map[int]chan answer
	seen    []Event
}

// Event is something that the page did: a request, or a line on its console.
type Event struct {
	Method string
	Params json.RawMessage
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Open starts a browser with a new profile, which Close removes, and opens an empty page. The end of ctx stops it.
// Errors: ErrNotFound, also on Windows, where a program is not given pipes by number; those of starting it.
func Open(ctx context.Context) (b *Browser, err error) {
	path, err := Find()
	if err == nil && runtime.GOOS == "windows" {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "mito-browser-")
	if err != nil {
		return nil, err
	}
	args := []string{"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + profile, "--no-first-run", "--disable-gpu",
		"--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync"}
	if os.Geteuid() == 0 { // its sandbox needs a user
		args = append(args, "--no-sandbox")
	}
	b = &Browser{cmd: exec.CommandContext(ctx, path, append(args, "about:blank")...), profile: profile, done: make(chan struct{}), waiting: map[int]chan answer{}}
	if err := b.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(profile))
	}
	if err := b.attach(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), b.Close())
	}
	return b, nil
}

// start runs the program with its two pipes.
func (b *Browser) start() error {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return err
	}
	b.cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	err = b.cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		in.Close()
		out.Close()
		return err
	}
	b.in = in
	go b.listen(out)
	return nil
}

// listen gives answers to those who wait for them.
func (b *Browser) listen(out io.ReadCloser) {
	defer close(b.done)
	defer out.Close()
	messages := bufio.NewReader(out)
	for {
		text, err := messages.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID int
			answer
			Event
		}
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		if to := b.waiting[m.ID]; to != nil {
			delete(b.waiting, m.ID)
			to <- m.answer
		} else if m.Method != "" {
			b.seen = append(b.seen, m.Event)
		}
		b.mu.Unlock()
	}
}

// attach opens the page.
func (b *Browser) attach(ctx context.Context) error {
	var target struct{ TargetID string }
	if err := b.Call(ctx, "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return err
	}
	var attached struct{ SessionID string }
	if err := b.Call(ctx, "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return err
	}
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		if err := b.Call(ctx, domain+".enable", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// Call calls a method of the protocol and decodes its result; result nil drops it.
func (b *Browser) Call(ctx context.Context, method string, params any, result any) error {
	b.mu.Lock()
	b.last++
	m := map[string]any{"id": b.last, "method": method}
	if params != nil {
		m["params"] = params
	}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	to := make(chan answer, 1)
	b.waiting[b.last] = to
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case a := <-to:
		if a.Error != nil {
			return fmt.Errorf("%s: %s", method, a.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(a.Result, result)
	case <-b.done:
		return fmt.Errorf("%s: the browser ended", method)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Navigate loads an address.
func (b *Browser) Navigate(ctx context.Context, url string) error {
	var r struct{ ErrorText string }
	if err := b.Call(ctx, "Page.navigate", map[string]any{"url": url}, &r); err != nil {
		return err
	}
	if r.ErrorText != "" {
		return fmt.Errorf("%s: %s", url, r.ErrorText)
	}
	return nil
}

// Evaluate evaluates an expression in the page, waits for it where it is a promise, and decodes what it gives, which must be
// something that JSON has.
func (b *Browser) Evaluate(ctx context.Context, expression string, value any) error {
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	params := map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}
	if err := b.Call(ctx, "Runtime.evaluate", params, &r); err != nil {
		return err
	}
	if e := r.ExceptionDetails; e != nil {
		return fmt.Errorf("in the page: %s %s", e.Text, e.Exception.Description)
	}
	if value == nil || r.Result.Value == nil {
		return nil
	}
	return json.Unmarshal(r.Result.Value, value)
}

// Events lists what the page did so far, by the methods' names.
func (b *Browser) Events(methods ...string) (list []Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.seen {
		for _, m := range methods {
			if e.Method == m {
				list = append(list, e)
			}
		}
	}
	return list
}

// Close ends the browser and removes its profile.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = b.Call(ctx, "Browser.close", nil, nil) // it may have ended by itself
	b.in.Close()
	select {
	case <-b.done:
	case <-ctx.Done():
		_ = b.cmd.Process.Kill()
	}
	_ = b.cmd.Wait() // says that it was stopped, where it was
	err := os.RemoveAll(b.profile)
	for range 20 { // its helpers write until they notice
		if err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
		err = os.RemoveAll(b.profile)
	}
	return err
}

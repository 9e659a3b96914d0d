//go:build unix

package mcu

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"mito/engine/arch"
	"mito/engine/export"
	"mito/engine/export/c99"
	"mito/engine/student"
	"mito/engine/task"
	"mito/engine/tokenizer"
)

var gameStudent = flag.String("student", "", "folder of an INT8 student that plays tic-tac-toe: mito pipeline --preset device makes one")

// What the whole program may take, start-up code, stack and the line that it reads into included.
const (
	gameFlash = 64 << 10
	gameRAM   = 4 << 10
)

// TestGame lets a student play tic-tac-toe on a Cortex-M4F, by semihosting, against all replies that there are: it must not lose.
func TestGame(t *testing.T) {
	if *gameStudent == "" {
		t.Skip("mito pipeline --preset device --out DIR, then go test ./bench/mcu -boards -run Game -student DIR/compressed")
	}
	var board *Board
	for _, b := range present(t) {
		if b.Name == "cortex-m4f" {
			board = &b
		}
	}
	if board == nil {
		t.Skip("there is no Cortex-M4F to play on")
	}
	ctx := t.Context()
	p, err := board.build(ctx, exported(t, *gameStudent, "tictactoe", board.Name), t.TempDir(), whatPlay, "-DSTUDENT_SAMPLE=0")
	if err != nil {
		t.Fatal(err)
	}
	game, err := task.New("tictactoe", task.Options{})
	if err != nil {
		t.Fatal(err)
	}
	player, err := p.play(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(player.stop)
	for _, opponent := range []string{"random", "perfect", "exhaustive"} {
		s, err := game.Score(ctx, player, task.ScoreOptions{Games: 100, Opponent: opponent, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if s.Loss > 0 {
			t.Errorf("%d games lost", s.Loss)
		}
		t.Logf("on %s, %s", board.Name, s)
	}
	stack, err := player.end()
	if err != nil {
		t.Fatal(err)
	}
	flash, static := p.image(t)
	t.Logf("the program takes %d bytes of flash, %d of RAM and %d of stack; of the student %d are data, %d code, %d RAM", flash, static, stack, p.Map.Data, p.Map.Code, p.Map.RAM)
	if flash > gameFlash || static+stack > gameRAM {
		t.Errorf("%d bytes of flash and %d of RAM are allowed", gameFlash, gameRAM)
	}
}

// A game that is broken off leaves no emulator behind.
func TestGameBrokenOff(t *testing.T) {
	b := &present(t)[0]
	game, err := task.New("tictactoe", task.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.NewChars(game.Alphabet())
	if err != nil {
		t.Fatal(err)
	}
	examples, err := game.Examples(t.Context(), task.All)
	if err != nil {
		t.Fatal(err)
	}
	w := weights(t, config(func(c *arch.Config) { c.VocabSize = tok.VocabSize() }), false)
	boot, err := student.ProveBoot(w)
	if err != nil {
		t.Fatal(err)
	}
	files, err := c99.Write(w, tok, c99.Options{Task: "tictactoe", Proof: c99.Proof{Boot: boot}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.build(t.Context(), files, t.TempDir(), whatPlay)
	if err != nil {
		t.Fatal(err)
	}
	player, err := p.play(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer player.stop()
	if c, err := player.Choose([]string{examples[0].Prompt}, nil); err != nil || len(c[0].Answer) != 1 {
		t.Fatalf("%v: %v", c, err)
	}
	player.stop()
	if s := player.cmd.ProcessState; s == nil || s.Exited() || player.in.Close() == nil {
		t.Errorf("the emulator, which waits for a prompt, or its pipe is still there: %v", s)
	}
}

// exported is what mito export c writes of a folder for a task, where it fits.
func exported(t testing.TB, dir, name, target string) c99.Files {
	t.Helper()
	format, err := export.Find("c")
	if err != nil {
		t.Fatal(err)
	}
	from, err := export.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "c")
	if _, err := format.Write(context.Background(), from, out, export.Options{C: export.COptions{Task: name, Flash: gameFlash, Target: target}}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	files := c99.Files{}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(out, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// image is what the whole program takes of flash, and of RAM without its stack.
func (p *Program) image(t testing.TB) (flash, ram int) {
	t.Helper()
	f, err := elf.Open(filepath.Join(p.dir, "program"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		if s.Type != elf.SHT_NOBITS {
			flash += int(s.Size)
		}
		if s.Flags&elf.SHF_WRITE != 0 {
			ram += int(s.Size)
		}
	}
	return flash, ram
}

// remotePlayer is a program of board/main.c that answers prompts.
type remotePlayer struct {
	cmd   *exec.Cmd
	in    *os.File
	out   *bufio.Reader
	known map[string]string // the program always answers alike
}

func (p *Program) play(ctx context.Context) (*remotePlayer, error) {
	r := &remotePlayer{cmd: p.command(ctx), known: map[string]string{}}
	r.cmd.Dir, r.cmd.Stderr = p.dir, os.Stderr
	pipe := filepath.Join(p.dir, "prompts")
	err := syscall.Mkfifo(pipe, 0o600)
	if err != nil {
		return nil, err
	}
	if r.in, err = os.OpenFile(pipe, os.O_RDWR, 0); err != nil { // so that it waits for no reader
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, r.in.Close())
	}
	r.out = bufio.NewReader(out)
	return r, nil
}

// stop ends a program that did not end. After end it has nothing to do.
func (r *remotePlayer) stop() {
	_, _, _ = r.cmd.Process.Kill(), r.cmd.Wait(), r.in.Close()
}

// Choose asks the device. It masks illegal answers, so that its own choice is not known.
func (r *remotePlayer) Choose(prompts []string, _ [][]string) ([]task.Choice, error) {
	choices := make([]task.Choice, len(prompts))
	for i, prompt := range prompts {
		answer, ok := r.known[prompt]
		if !ok {
			if _, err := io.WriteString(r.in, prompt+"\n"); err != nil {
				return nil, err
			}
			line, err := r.out.ReadString('\n')
			if err != nil {
				return nil, fmt.Errorf("the board answers %q to %q: %w", line, prompt, err)
			}
			answer = strings.TrimSpace(line)
			r.known[prompt] = answer
		}
		choices[i] = task.Choice{Answer: answer, OwnLegal: true}
	}
	return choices, nil
}

// end stops the program, which says how much stack it used.
func (r *remotePlayer) end() (stack int, err error) {
	if _, err := io.WriteString(r.in, "\n"); err != nil {
		return 0, err
	}
	line, err := r.out.ReadString('\n')
	if err != nil {
		return 0, err
	}
	stack, err = strconv.Atoi(strings.TrimSpace(line))
	return stack, errors.Join(err, r.in.Close(), r.cmd.Wait())
}

package mcu

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"mito/engine/export/c99"
)

//go:embed board
var boardFiles embed.FS

// Board is a processor and the emulator that runs programs for it.
type Board struct {
	Name     string   // as c99.Targets has it
	Compiler string   // gcc's
	Flags    []string // of the processor
	Script   string   // the linker's, without .ld
	Start    string   // start-up code, without .c
	Emulator []string
	Number   string // where the emulator puts a number for the program: board_stack_top
}

func cortexM(name, script, machine string, flags ...string) Board {
	return Board{name, "arm-none-eabi-gcc", append([]string{"-mthumb"}, flags...), script, "cortex_m", []string{
		"qemu-system-arm", "-M", machine, "-nographic", "-monitor", "none", "-serial", "none",
		"-semihosting-config", "enable=on,target=native,chardev=s", "-chardev", "stdio,id=s",
	}, map[string]string{"mps2": "0x203ffff0", "an505": "0x383ffff0", "an547": "0x2007fff0"}[script]}
}

func riscv(name, arch, abi string) Board {
	return Board{name, "riscv64-unknown-elf-gcc", []string{"-march=" + arch, "-mabi=" + abi, "-misa-spec=2.2", "-mcmodel=medany"}, "riscv", "riscv", []string{
		"qemu-system-riscv32", "-M", "virt", "-bios", "none", "-nographic", "-monitor", "none", "-serial", "stdio",
	}, "0x80bffff0"}
}

// Boards lists the processors, the smallest first. M0+ code runs on an M3, which executes all of it.
func Boards() []Board {
	return []Board{
		cortexM("cortex-m0+", "mps2", "mps2-an385", "-mcpu=cortex-m0plus", "-mfloat-abi=soft"),
		cortexM("cortex-m3", "mps2", "mps2-an385", "-mcpu=cortex-m3", "-mfloat-abi=soft"),
		cortexM("cortex-m4f", "mps2", "mps2-an386", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
		cortexM("cortex-m7", "mps2", "mps2-an500", "-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard"),
		cortexM("cortex-m33", "an505", "mps2-an505", "-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
		cortexM("cortex-m55", "an547", "mps3-an547", "-mcpu=cortex-m55", "-mfloat-abi=hard"),
		riscv("rv32imac", "rv32imac", "ilp32"),
		riscv("rv32imafc", "rv32imafc", "ilp32f"),
	}
}

// Missing names the program that a board needs and that is not installed, "" for none.
func (b *Board) Missing() string {
	for _, name := range []string{b.Compiler, b.Emulator[0]} {
		if _, err := exec.LookPath(name); err != nil {
			return name
		}
	}
	return ""
}

// The programs of board/main.c.
const (
	whatDigest = 1 + iota
	whatSelftest
	whatTokens
	whatPlay
	whatAll
)

// Program is what was built for a board.
type Program struct {
	board *Board
	dir   string
	Map   Usage
}

// Usage is what a linker placed of the student, by its map.
type Usage struct {
	Code    int // of student.c, text.c and what of the compiler's library they call
	Own     int // of it, without the library
	Data    int // of model.c
	RAM     int // .data and .bss of the student's files
	Library []string
}

// build compiles files and a program for a board into a folder. The usual level is -Os.
func (b *Board) build(ctx context.Context, files c99.Files, dir string, what int, args ...string) (*Program, error) {
	if err := spread(files, dir); err != nil {
		return nil, err
	}
	all := append(append([]string{"-std=c99", "-Os", "-Wall", "-Wextra"}, b.Flags...),
		"-ffreestanding", "-nostdlib", "-nostartfiles", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,-Map=map", "-Wl,--no-warn-rwx-segments",
		"-T", b.Script+".ld", "-DWHAT="+strconv.Itoa(what))
	all = append(append(all, args...), "student.c", "model.c")
	if _, ok := files["text.c"]; ok {
		all = append(all, "text.c")
	}
	// Of a file the linker's map names the object: without -save-temps they have random names.
	all = append(all, "main.c", b.Start+".c", "-save-temps=obj", "-lgcc", "-o", "program")
	cmd := exec.CommandContext(ctx, b.Compiler, all...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %s %s: %w\n%s", b.Name, b.Compiler, strings.Join(all, " "), err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "map"))
	if err != nil {
		return nil, err
	}
	p := &Program{board: b, dir: dir, Map: readMap(string(text))}
	return p, nil
}

// spread writes the student's files and those of the boards.
func spread(files c99.Files, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	entries, err := boardFiles.ReadDir("board")
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, err := boardFiles.ReadFile("board/" + e.Name())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), text, 0o666); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// command runs the program; more are arguments of the emulator.
func (p *Program) command(ctx context.Context, more ...string) *exec.Cmd {
	e := p.board.Emulator
	cmd := exec.CommandContext(ctx, e[0], append(append(append([]string{}, e[1:]...), more...), "-kernel", filepath.Join(p.dir, "program"))...)
	return cmd
}

// run runs the program with a number and returns what it prints.
func (p *Program) run(ctx context.Context, number int) (string, error) {
	out, err := p.command(ctx, p.number(number)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", p.board.Name, err, out)
	}
	return string(out), nil
}

// number gives the program a number.
func (p *Program) number(n int) []string {
	return []string{"-device", fmt.Sprintf("loader,addr=%s,data=%d,data-len=4", p.board.Number, n)}
}

// plugin builds the counter of instructions.
var plugin = sync.OnceValues(func() (string, error) {
	cc, err := c99.Compiler()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "mito-count-")
	if err != nil {
		return "", err
	}
	text, err := boardFiles.ReadFile("board/count.c")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "count.c"), text, 0o666); err != nil {
		return "", err
	}
	so := filepath.Join(dir, "count.so")
	if out, err := exec.Command(cc, "-O2", "-shared", "-fPIC", filepath.Join(dir, "count.c"), "-o", so).CombinedOutput(); err != nil {
		return "", fmt.Errorf("count.c: %w\n%s", err, out)
	}
	return so, nil
})

var counted = regexp.MustCompile(`instructions (\d+)`)

// instructions runs the program and counts what it executes.
func (p *Program) instructions(ctx context.Context, number int) (int, error) {
	so, err := plugin()
	if err != nil {
		return 0, err
	}
	cmd := p.command(ctx, append(p.number(number), "-plugin", "file="+so)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", p.board.Name, err, said.Bytes())
	}
	m := counted.FindSubmatch(said.Bytes())
	if m == nil {
		return 0, fmt.Errorf("%s: the emulator counts nothing: %s", p.board.Name, said.Bytes())
	}
	return strconv.Atoi(string(m[1]))
}

// stack runs the program, which prints the stack that it used.
func (p *Program) stack(ctx context.Context) (int, error) {
	out, err := p.run(ctx, 3)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out))
}

// another is how many instructions a program takes more with the number after n: of whatTokens the token at the position n with the
// greedy choice of the next, of whatSelftest the self-test.
func (p *Program) another(ctx context.Context, n int) (int, error) {
	var counts [2]int
	for i := range counts {
		var err error
		if counts[i], err = p.instructions(ctx, n+i); err != nil {
			return 0, err
		}
	}
	return counts[1] - counts[0], nil
}

// ErrNoBoards is returned where nothing is installed that boards need.
var ErrNoBoards = errors.New("neither gcc-arm-none-eabi with qemu-system-arm nor gcc-riscv64-unknown-elf with qemu-system-misc is installed")

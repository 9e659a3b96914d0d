package asm

import (
	"flag"
	"fmt"
	"log"
	"os"
	"regexp"
	"strconv"
	"strings"

	. "github.com/mmcloughlin/avo/build"
)

// Go's assembler knows VPDPBUSD in its EVEX form only (AVX-512). Processors with AVX-VNNI alone need the VEX form, so
// generators emit the instruction on YMM registers inside a function whose name ends in AVXVNNI and GenerateVEX replaces
// it there by its bytes.
var (
	textLine = regexp.MustCompile(`^TEXT ·(\w+)\(`)
	vnniLine = regexp.MustCompile(`^\tVPDPBUSD +Y(\d+), Y(\d+), Y(\d+)$`)
)

// GenerateVEX is Generate with that replacement.
func GenerateVEX() {
	Generate()
	out := flag.Lookup("out").Value.String()
	text, err := os.ReadFile(out)
	if err != nil {
		log.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	inside := false
	for i, line := range lines {
		if m := textLine.FindStringSubmatch(line); m != nil {
			inside = strings.HasSuffix(m[1], "AVXVNNI")
		}
		if m := vnniLine.FindStringSubmatch(line); inside && m != nil {
			lines[i] = vexDPBUSD(number(m[1]), number(m[2]), number(m[3])) + " //" + strings.TrimPrefix(line, "\t")
		} else if inside && strings.Contains(line, "VPDPBUSD") {
			log.Fatalf("line %d: %s: registers only", i+1, line)
		}
	}
	if err := os.WriteFile(out, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		log.Fatal(err)
	}
}

// vexDPBUSD encodes VEX.256.66.0F38.W0 50 /r: dst in ModRM.reg, the unsigned factor in vvvv, the signed one in ModRM.rm.
func vexDPBUSD(signed, unsigned, dst int) string {
	b := [5]int{0xc4, 0x42, 0x05, 0x50, 0xc0}
	b[1] |= (^dst>>3&1)<<7 | (^signed>>3&1)<<5
	b[2] |= (^unsigned & 15) << 3
	b[4] |= (dst&7)<<3 | signed&7
	var s strings.Builder
	s.WriteByte('\t')
	for i, v := range b {
		if i > 0 {
			s.WriteString("; ")
		}
		fmt.Fprintf(&s, "BYTE $0x%02x", v)
	}
	return s.String()
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n > 15 {
		log.Fatalf("register Y%s has no VEX encoding", s)
	}
	return n
}

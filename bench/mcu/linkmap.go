package mcu

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// placed is a line of a linker's map: a section, where it lies, its size, the object that it comes from.
var placed = regexp.MustCompile(`^ (\.[^\s]*)\s+0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+(\S+)$`)

// readMap adds up what a map says of the student's objects and of the compiler's library. Sections that were thrown away stand
// before "Linker script and memory map".
func readMap(text string) Usage {
	var u Usage
	_, text, _ = strings.Cut(text, "Linker script and memory map")
	// A long name has its numbers on the next line.
	text = regexp.MustCompile(`(?m)^( \.\S+)\n\s+(0x)`).ReplaceAllString(text, "$1 $2")
	for line := range strings.Lines(text) {
		m := placed.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			continue
		}
		size, err := strconv.ParseInt(m[3], 16, 32)
		if err != nil || size == 0 {
			continue
		}
		n, section, object := int(size), m[1], filepath.Base(m[4])
		code := strings.HasPrefix(section, ".text") || strings.HasPrefix(section, ".rodata") || strings.HasPrefix(section, ".srodata")
		ram := strings.HasPrefix(section, ".data") || strings.HasPrefix(section, ".bss") || strings.HasPrefix(section, ".sbss")
		name, _, library := strings.Cut(strings.TrimSuffix(object, ")"), "(")
		switch {
		case library && name == "libgcc.a" && code:
			u.Code += n
			member := object[strings.IndexByte(object, '(')+1:]
			if !slices.Contains(u.Library, member) {
				u.Library = append(u.Library, member)
			}
		case strings.HasSuffix(object, "student.o") || strings.HasSuffix(object, "text.o"):
			if code {
				u.Code, u.Own = u.Code+n, u.Own+n
			} else if ram {
				u.RAM += n
			}
		case strings.HasSuffix(object, "model.o"):
			if code {
				u.Data += n
			} else if ram {
				u.RAM += n
			}
		case strings.HasSuffix(object, "main.o") && ram && strings.HasSuffix(section, ".state"):
			u.RAM += n
		}
	}
	return u
}

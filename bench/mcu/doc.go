// Package mcu builds what mito export c writes for processors of devices and runs it: on QEMU's boards without an operating
// system, with QEMU's emulators of Linux programs, and here with several compilers and levels. The digest has to be the same
// everywhere.
//
// It measures what a device needs, too: the code by the linker's map, the stack by a painted one, instructions by a plugin of
// QEMU. TestUpdate makes the table that mito export c --dry-run reads, engine/export/c99/sizes.txt. Emulators have no
// cycles: time and energy are measured on a board.
//
// What is not installed is left out and named; a board that sizes.txt does not have yet is named too. board/ holds start-up code,
// linker scripts and programs.
package mcu

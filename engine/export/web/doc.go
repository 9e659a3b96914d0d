// Package web writes an INT8 student as one HTML file that runs it in a browser: offline, from a file, without a request.
//
//	page/      the page: markup, style, and scripts that are joined in the order of scripts in page.go
//	runtime/   what makes a browser's program of engine/export/c99/runtime/student.c
//	wasm/      that program with SIMD and without, as clang made it, and MANIFEST, the hashes of what it was made of
//
// The page holds the program twice, the image of the model (c99.WriteImage) and a policy (CSP) that lets it load nothing. When
// it opens it computes the digest of engine/student/SPEC.md, section 6, and runs nothing where that differs. Text is drawn as
// by mito generate, token for token. A game is played on a board (task.Board): the page lists the legal answers, and the model takes the
// most probable of them.
//
// `go generate` makes wasm/ again; a test fails where sources and MANIFEST disagree, and where clang is the MANIFEST's, where it
// makes other bytes.
//
// Of mito the package imports engine/export/c99, engine/internal/chromium, engine/student, engine/task and engine/tokenizer.
package web

//go:generate ./generate.sh

#!/bin/sh
# Generates the assembly again and fails when the committed files differ.
set -eu
cd "$(dirname "$0")/.."
dirs=$(grep -l '^//go:generate go run -C ../_asm' ./*/*.go | xargs -n1 dirname | sort -u)
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
status=0
for d in $dirs; do
	mkdir -p "$before/$d"
	cp "$d"/*.s "$d"/stubs*.go "$before/$d"
	go generate "$d"
	for f in "$before/$d"/*; do
		cmp "$f" "$d/$(basename "$f")" || status=1
	done
done
exit $status

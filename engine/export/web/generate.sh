#!/bin/sh
# Compiles the student for browsers, with and without SIMD, and writes wasm/MANIFEST. Needs clang with lld, in CLANG or on the
# path. With an argument, writes there instead of wasm.
set -eu
cd "$(dirname "$0")"
out=${1:-wasm}
clang=${CLANG:-clang}
flags="--target=wasm32 -std=c99 -nostdlib -ffp-contract=off -Wall -Wextra -Werror -I runtime -I ../c99/runtime"
link="-Wl,--no-entry,--stack-first,-z,stack-size=24576,--strip-all"
for name in student_reset student_feed student_argmax student_sample student_encode student_piece web_stream web_digest; do
	link="$link,--export=$name"
done
scalar="-Oz -mno-simd128"
simd="-Os -msimd128 -mbulk-memory -mnontrapping-fptoint"

mkdir -p "$out"
rm -f "$out"/*.wasm "$out/MANIFEST"
"$clang" $flags $scalar $link -o "$out/scalar.wasm" runtime/web.c
"$clang" $flags $simd $link -o "$out/simd.wasm" runtime/web.c
chmod 644 "$out"/*.wasm
{
	echo "compiler $("$clang" --version | sed -n '1s/.*\(clang version [0-9.]*\).*/\1/p')"
	echo "flags $flags"
	echo "scalar $scalar"
	echo "simd $simd"
	echo "link $link"
	sha256sum generate.sh runtime/*.c runtime/*.h ../c99/runtime/*.c ../c99/runtime/*.h
	(cd "$out" && sha256sum *.wasm)
} >"$out/MANIFEST.new"
mv "$out/MANIFEST.new" "$out/MANIFEST"

#!/bin/sh
# Compiles the kernels to PTX and writes ptx/MANIFEST. Needs nvcc on the path, or
# in NVCC; CUDA 11.8 gives PTX that every driver from 11.8 on accepts. With an
# argument, writes there instead of ptx.
set -eu
cd "$(dirname "$0")"
out=${1:-ptx}
nvcc=${NVCC:-nvcc}
flags="-ptx -arch=compute_80 -O3 -std=c++17"

mkdir -p "$out"
rm -f "$out"/*.ptx "$out/MANIFEST"
for source in *.cu; do
	[ "$source" = all.cu ] && continue
	"$nvcc" $flags -o "$out/${source%.cu}.ptx" "$source"
done
{
	echo "compiler nvcc $("$nvcc" --version | sed -n 's/.*release.*V\([0-9.]*\).*/\1/p')"
	echo "flags $flags"
	sha256sum *.cu *.cuh
	(cd "$out" && sha256sum *.ptx)
} >"$out/MANIFEST.new"
mv "$out/MANIFEST.new" "$out/MANIFEST"

#!/bin/sh
# What every CUDA kernel takes of a multiprocessor, without a GPU: compiles the committed PTX with ptxas and compares with
# kernels/cuda/resources.txt.
#
#   bench/gpu_static.sh check   fails on a spill, on fewer blocks a multiprocessor than the table says, and where the table
#                               lacks a kernel or has one too many
#   bench/gpu_static.sh write   writes the table anew
#
# Needs ptxas of CUDA 12.9.86 in PTXAS or on the path; where there is none, pip fetches package nvidia-cuda-nvcc-cu12 into a
# temporary folder. Exit status 3 where neither works. Another ptxas hands out registers otherwise, as the compiler in a
# driver does: the table compares one version of a kernel with the next, it does not say what a driver makes.
set -eu
cd "$(dirname "$0")/.."
version=12.9.86
table=kernels/cuda/resources.txt

case ${1:-} in
check | write) ;;
*)
	sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
is_right() { "$1" --version 2>/dev/null | grep -q "V$version"; }
ptxas=${PTXAS:-ptxas}
if ! is_right "$ptxas"; then
	if [ -n "${PTXAS:-}" ]; then
		echo "$PTXAS is not ptxas $version" >&2
		exit 3
	fi
	python3 -m pip download -q --no-deps -d "$tmp" "nvidia-cuda-nvcc-cu12==$version" >"$tmp/pip.log" 2>&1 &&
		python3 -m zipfile -e "$tmp"/*.whl "$tmp/nvcc" || {
		echo "no ptxas $version, and pip could not fetch it: $(tail -n 1 "$tmp/pip.log")" >&2
		exit 3
	}
	ptxas=$tmp/nvcc/nvidia/cuda_nvcc/bin/ptxas
	chmod +x "$ptxas"
fi

# One line a kernel and architecture: architecture, kernel, threads, registers, bytes spilt, static and dynamic shared memory,
# blocks a multiprocessor.
for arch in sm_80 sm_90; do
	for module in kernels/cuda/ptx/*.ptx; do
		"$ptxas" -v -arch="$arch" -o /dev/null "$module" 2>"$tmp/log"
		awk -v arch="$arch" '
			FNR == NR { # the PTX: how many threads a block has at most
				if ($1 == ".visible" && $2 == ".entry") { sub(/\(.*/, "", $3); name = $3; threads[name] = 256 }
				if ($1 == ".maxntid") { sub(/,/, "", $2); threads[name] = $2 }
				next
			}
			/Compiling entry function/ { split($0, part, "\x27"); name = part[2] }
			/bytes spill stores/ {
				for (i = 2; i <= NF; i++) if ($i == "spill") spill[name] += $(i - 2)
			}
			/Used [0-9]+ registers/ {
				registers[name] = 0 + substr($0, index($0, "Used ") + 5)
				shared[name] = 0
				for (i = 3; i <= NF; i++) if ($i ~ /^smem/) shared[name] = $(i - 2)
			}
			function floor(x) { return int(x) }
			function least(a, b) { return a < b ? a : b }
			END {
				room = (arch == "sm_90" ? 228 : 164) * 1024
				for (name in registers) {
					# Attention holds tiles of 64 rows of queries and as many of keys and values, with 8 columns of padding, in
					# bfloat16; the backward passes two tiles of each side, of 32 rows on one where heads are wide.
					dynamic = 0
					if (name ~ /^attention_.*bf16_/) {
						width = name
						sub(/.*_/, "", width)
						row = 2 * (width + 8)
						dynamic = name ~ /_d(q|kv)_/ ? (128 + (width > 64 ? 64 : 128)) * row : 192 * row
					}
					# Products hold four steps of both operands as float32, of 32 along k.
					if (name ~ /^gemm_bf16_.*_(64|128)$/) {
						tile = name
						sub(/.*_/, "", tile)
						dynamic = 4 * 2 * tile * 32 * 4
					}
					warps = floor((threads[name] + 31) / 32)
					blocks = floor(65536 / (floor((registers[name] * 32 + 255) / 256) * 256 * warps))
					blocks = least(blocks, floor(room / (shared[name] + dynamic + 1024)))
					blocks = least(least(blocks, floor(64 / warps)), 32)
					print arch, name, threads[name], registers[name], 0 + spill[name], shared[name], dynamic, blocks
				}
			}' "$module" "$tmp/log"
	done
done | LC_ALL=C sort >"$tmp/lines"

if [ "$1" = write ]; then
	{
		echo "# What each kernel takes, by ptxas $version: bench/gpu_static.sh writes this table and CI holds kernels to it."
		echo "# Blocks: as many as registers, threads and shared memory of a multiprocessor are enough for. Kernels whose PTX"
		echo "# names no number of threads count as 256; dynamic shared memory is that of attention in bfloat16 and of products"
		echo "# on tensor cores; other kernels ask for as much as their rows need, which is left out. Nothing here was measured on a GPU."
		echo "# arch kernel threads registers spilt_bytes static_shared dynamic_shared blocks"
		cat "$tmp/lines"
	} >"$table"
	exit
fi
grep -v '^#' "$table" >"$tmp/table"
awk '
	FNR == NR { blocks[$1 " " $2] = $8; next }
	{ key = $1 " " $2; seen[key] = 1 }
	$5 > 0 { print key ": " $5 " bytes are spilt"; bad = 1 }
	!(key in blocks) { print key ": not in the table: bench/gpu_static.sh write"; bad = 1; next }
	$8 < blocks[key] { print key ": " $8 " blocks a multiprocessor, the table says " blocks[key]; bad = 1 }
	END {
		for (key in blocks) if (!(key in seen)) { print key ": in the table, but no kernel"; bad = 1 }
		if (!bad) print FNR / 2 " kernels on two architectures: no spills, blocks as the table says or more"
		exit bad
	}' "$tmp/table" "$tmp/lines"

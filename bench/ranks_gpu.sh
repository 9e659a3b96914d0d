#!/usr/bin/env bash
# The test of ranks over NCCL. Without a GPU it checks that the library is found, makes an id and has what is used of it; with two or
# more it trains on two, in order and fast, and compares.
#   bench/ranks_gpu.sh
# It wants NCCL's library in LD_LIBRARY_PATH; 'pip install nvidia-nccl-cu13' has one in nvidia/nccl/lib.
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go test -tags dist ./engine/dist/nccl ./engine/dist/join -count 1 -v | tee "$tmp/log"
grep -q -- '--- PASS: TestLibrary' "$tmp/log" || {
	echo "NCCL was not found, or lacks something: see above"
	exit 1
}
gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
if [ "${gpus:-0}" -lt 2 ]; then
	echo "not measured: two GPUs are needed, there are ${gpus:-0}"
	exit 0
fi
CGO_CFLAGS="-O2 -I$PWD/backend/cuda/include" go build -tags cuda,dist -o "$tmp/mito" ./cmd/mito
train() { # RANKS OUT FLAGS…: trains on so many GPUs, each rank in the background
	local ranks=$1 out=$2 pids=() rank pid
	shift 2
	for rank in $(seq 0 $((ranks - 1))); do
		RANK=$rank WORLD_SIZE=$ranks LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$ranks MASTER_ADDR=127.0.0.1 MASTER_PORT=29517 \
			"$tmp/mito" train --backend cuda --task tictactoe --arch mini --steps 50 --batch 64 --quiet --out "$tmp/$out" "$@" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
}
train 2 a
train 2 b
train 2 fast --allreduce fast
train 1 one --micro-batches 2
cmp "$tmp/a/model/model.safetensors" "$tmp/b/model/model.safetensors" && echo "two runs on two GPUs: the same bits"
if cmp -s "$tmp/a/model/model.safetensors" "$tmp/one/model/model.safetensors"; then
	echo "two GPUs and one with two micro-batches: the same bits"
else
	echo "two GPUs and one with two micro-batches: other bits"
fi

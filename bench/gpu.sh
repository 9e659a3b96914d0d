#!/bin/sh
# Proves and measures the CUDA backend on a GPU, in one call of less than eight minutes.
#
#   bench/gpu.sh build DIR        where Go and a C compiler are: makes the binaries
#   bench/gpu.sh run DIR [OUT [TEXT]]   where the GPU is, without Go: conformance, digest, training against the CPU over
#                                 200 steps, compute-sanitizer on a small model, then the benchmarks; with a text file,
#                                 also 1,000 steps on it in bf16 and in fp32
#
# run writes OUT/gpu.md (default DIR/out) with the device's name, and a log of each part beside it. Its exit status is 0
# where every part that could run passed. Where PyTorch is installed it runs bench/peers/pytorch_gpu.py, copied to DIR
# by build, after mito, and writes both in the same format.
set -u

usage() {
	sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

build() {
	set -e
	cd "$(dirname "$0")/.."
	dir=$1
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	CGO_ENABLED=1
	CGO_CFLAGS="-O2 -I$PWD/backend/cuda/include"
	export CGO_ENABLED CGO_CFLAGS
	go test -c -tags cuda -o "$dir/cuda.test" ./backend/cuda
	go test -c -tags cuda -o "$dir/digest.test" ./engine/student/seam
	go test -c -tags cuda -o "$dir/cudax.test" ./backend/cuda/cudax
	go build -tags cuda -o "$dir/mito" ./cmd/mito
	cp bench/gpu.sh bench/peers/pytorch_gpu.py "$dir"
	ls -l "$dir"
}

# part NAME SECONDS COMMAND… runs one part under a limit and before the deadline of all, keeps its log and notes its
# result.
part() {
	name=$1
	limit=$2
	shift 2
	rm -f "$out/$name.log" # of an earlier run
	began=$(date +%s)
	[ "$limit" -le $((deadline - began)) ] || limit=$((deadline - began))
	if [ "$limit" -lt 5 ]; then
		skipped "$name" "no time left"
		failed=1
		return
	fi
	timeout -k 5 "$limit" "$@" >"$out/$name.log" 2>&1
	status=$?
	took=$(($(date +%s) - began))
	case $status in
	0) result=passed ;;
	124 | 137) result="not finished within $limit s" ;;
	*) result="FAILED (status $status)" ;;
	esac
	if [ "$status" -eq 0 ] && grep -q -- '--- SKIP' "$out/$name.log"; then
		result="passed, with parts skipped"
	fi
	[ "$status" -eq 0 ] || failed=1
	echo "| $name | $result | $took s |" >>"$out/gpu.md"
	printf '%-14s %s (%s s)\n' "$name" "$result" "$took"
	[ "$status" -eq 0 ] || tail -n 15 "$out/$name.log"
}

skipped() {
	echo "| $1 | not run: $2 | |" >>"$out/gpu.md"
	printf '%-14s not run: %s\n' "$1" "$2"
}

table() {
	printf '\n## %s\n\n```\n' "$1" >>"$out/gpu.md"
	grep -s '^Benchmark' "$2" >>"$out/gpu.md" || echo "not measured" >>"$out/gpu.md"
	printf '```\n' >>"$out/gpu.md"
}

run() {
	dir=$(cd "$1" && pwd)
	out=${2:-$dir/out}
	text=${3:+$(cd "$(dirname "$3")" && pwd)/$(basename "$3")}
	mkdir -p "$out"
	out=$(cd "$out" && pwd)
	cd "$dir" || exit 1
	if ./mito info 2>&1 | grep 'cuda.*not available' >&2; then
		exit 1
	fi
	rm -f "$out/losses"
	failed=0
	deadline=$(($(date +%s) + 465))
	PATH=$PATH:/usr/local/cuda/bin # compute-sanitizer
	# The driver keeps what it compiles here, where it can be written, and each module is compiled once.
	export CUDA_CACHE_PATH="$out/compiled" CUDA_CACHE_DISABLE=0
	device=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
	if [ -z "$device" ]; then
		echo "no NVIDIA GPU: nvidia-smi finds none" >&2
		exit 1
	fi
	{
		echo "# $device"
		echo
		./mito info 2>&1 | sed '/^Kernels/,$d; s/^/    /'
		printf '\n| part | result | time |\n|---|---|---|\n'
	} >"$out/gpu.md"

	part cudax 15 ./cudax.test -test.v
	part conformance 60 ./cuda.test -test.v -test.skip 'TestTrainingFollowsCPU|TestWithoutGPU'
	part digest 20 ./digest.test -test.v
	part curves 45 ./cuda.test -test.v -test.run TestTrainingFollowsCPU -steps 200
	if command -v compute-sanitizer >/dev/null; then
		part memcheck 45 compute-sanitizer --error-exitcode 9 --leak-check no ./cuda.test -test.run 'TestTrainingFollowsCPU/edge|TestManyRows' -steps 3
		part racecheck 45 compute-sanitizer --tool racecheck --error-exitcode 9 ./cuda.test -test.run 'TestTrainingFollowsCPU/edge' -steps 3
		part racecheck-int8 30 compute-sanitizer --tool racecheck --error-exitcode 9 ./digest.test -test.run TestDigestIsTheRuntimes/cuda
		part synccheck 30 compute-sanitizer --tool synccheck --error-exitcode 9 ./cuda.test -test.run 'TestTrainingFollowsCPU/edge' -steps 3
	else
		skipped memcheck "compute-sanitizer is not installed"
		skipped racecheck "compute-sanitizer is not installed"
		skipped synccheck "compute-sanitizer is not installed"
	fi
	part training 40 ./cuda.test -test.run NONE -test.bench 'Training|Distillation' -test.benchtime 2s
	if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
		part pytorch 150 python3 pytorch_gpu.py --seconds 2
	else
		skipped pytorch "no PyTorch with CUDA"
	fi
	if [ -n "$text" ]; then
		for precision in bf16 fp32; do
			rm -rf "$out/text-$precision"
			part "text-$precision" 60 ./mito train --corpus "$text" --model char --backend cuda --precision "$precision" \
				--optimizer adamw --lr 0.002 --steps 1000 --json --quiet --out "$out/text-$precision"
			sed -n 's/.*"loss_nats": \([0-9.]*\).*/held-out loss '"$precision"': \1 nats/p' "$out/text-$precision.log" 2>/dev/null |
				tee -a "$out/losses"
		done
	else
		skipped text "no text file given"
	fi
	part operations 30 ./cuda.test -test.run NONE -test.bench Ops -test.benchtime 5x

	[ -f "$out/losses" ] && {
		echo
		cat "$out/losses"
	} >>"$out/gpu.md"
	table "mito" "$out/training.log"
	[ -f "$out/pytorch.log" ] && table "PyTorch" "$out/pytorch.log"
	table "operations" "$out/operations.log"
	rm -rf "$out/compiled"
	echo "written: $out/gpu.md"
	exit "$failed"
}

[ $# -ge 2 ] || usage
case $1 in
build) build "$2" ;;
run) run "$2" "${3:-}" "${4:-}" ;;
*) usage ;;
esac

#!/bin/sh
# Proves and measures the CUDA backend on a GPU, in calls of less than eight minutes each.
#
#   bench/gpu.sh build DIR        where Go and a C compiler are: makes DIR/gpu.tar.xz, stripped binaries and scripts of less
#                                 than 64 MiB. Where the GPU is: tar xJf gpu.tar.xz, which makes the folder gpu
#   gpu/gpu.sh run gpu [OUT [TEXT]]   where the GPU is, without Go: conformance, digest, training against the CPU over
#                                 200 steps, compute-sanitizer on a small model, then the benchmarks; with a text file,
#                                 also 1,000 steps on it in bf16 and in fp32. Writes OUT/gpu.md
#   gpu/gpu.sh peer gpu [OUT]     pytorch_gpu.py on the same GPU, where PyTorch is installed: a call of its own, which may
#                                 run into its limit and keeps what it measured until then. Writes OUT/pytorch.md
#
# OUT is by default gpu/out. The files name the device; the logs of all parts lie beside them in one archive,
# OUT/gpu-logs.tar.gz or OUT/pytorch-logs.tar.gz. The exit status is 0 where every part that could run passed.
set -u

usage() {
	sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
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
	packed=$(mktemp -d)
	trap 'rm -rf "$packed"' EXIT
	mkdir "$packed/gpu"
	strip="-s -w" # symbols and debug information are two thirds of a binary
	go test -c -trimpath -ldflags "$strip" -tags cuda -o "$packed/gpu/cuda.test" ./backend/cuda
	go test -c -trimpath -ldflags "$strip" -tags cuda -o "$packed/gpu/digest.test" ./engine/student/seam
	go test -c -trimpath -ldflags "$strip" -tags cuda -o "$packed/gpu/cudax.test" ./backend/cuda/cudax
	go build -trimpath -ldflags "$strip" -tags cuda -o "$packed/gpu/mito" ./cmd/mito
	cp bench/gpu.sh bench/peers/pytorch_gpu.py "$packed/gpu"
	tar -C "$packed" -cJf "$dir/gpu.tar.xz" gpu
	ls -l "$dir/gpu.tar.xz"
	bytes=$(wc -c <"$dir/gpu.tar.xz")
	if [ "$bytes" -ge $((64 << 20)) ]; then
		echo "gpu.tar.xz has $bytes bytes, less than 64 MiB can be carried" >&2
		exit 1
	fi
}

# part NAME SECONDS COMMAND… runs one part under a limit and before the deadline of all, keeps its log and notes its
# result.
part() {
	name=$1
	limit=$2
	shift 2
	rm -f "$logs/$name.log" # of an earlier run
	began=$(date +%s)
	[ "$limit" -le $((deadline - began)) ] || limit=$((deadline - began))
	if [ "$limit" -lt 5 ]; then
		skipped "$name" "no time left"
		failed=1
		return
	fi
	timeout -k 5 "$limit" "$@" >"$logs/$name.log" 2>&1
	status=$?
	took=$(($(date +%s) - began))
	case $status in
	0) result=passed ;;
	124 | 137) result="not finished within $limit s" ;;
	*) result="FAILED (status $status)" ;;
	esac
	if [ "$status" -eq 0 ] && grep -q -- '--- SKIP' "$logs/$name.log"; then
		result="passed, with parts skipped"
	fi
	[ "$status" -eq 0 ] || failed=1
	echo "| $name | $result | $took s |" >>"$out/$report.md"
	printf '%-14s %s (%s s)\n' "$name" "$result" "$took"
	[ "$status" -eq 0 ] || tail -n 15 "$logs/$name.log"
}

skipped() {
	echo "| $1 | not run: $2 | |" >>"$out/$report.md"
	printf '%-14s not run: %s\n' "$1" "$2"
}

table() {
	printf '\n## %s\n\n```\n' "$1" >>"$out/$report.md"
	grep -s '^Benchmark' "$2" >>"$out/$report.md" || echo "not measured" >>"$out/$report.md"
	printf '```\n' >>"$out/$report.md"
}

# begin REPORT DIR OUT goes to DIR and names the places of a call's results.
begin() {
	report=$1
	out=${3:-$2/out}
	mkdir -p "$out"
	out=$(cd "$out" && pwd)
	cd "$2" || exit 1
	logs=$PWD/$report-logs
	rm -rf "$logs"
	mkdir -p "$logs"
	failed=0
	deadline=$(($(date +%s) + 465))
	device=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
	if [ -z "$device" ]; then
		echo "no NVIDIA GPU: nvidia-smi finds none" >&2
		exit 1
	fi
	# Also where a call is ended from outside, what was logged until then comes back.
	trap 'rm -rf "$logs/compiled"; tar -C "$(dirname "$logs")" -czf "$out/$report-logs.tar.gz" "$report-logs"' EXIT
	trap 'exit 143' TERM INT
}

run() {
	text=${3:+$(cd "$(dirname "$3")" && pwd)/$(basename "$3")}
	begin gpu "$1" "$2"
	if ./mito info 2>&1 | grep 'cuda.*not available' >&2; then
		exit 1
	fi
	PATH=$PATH:/usr/local/cuda/bin # compute-sanitizer
	# The driver keeps what it compiles here, where it can be written, and each module is compiled once.
	export CUDA_CACHE_PATH="$logs/compiled" CUDA_CACHE_DISABLE=0
	{
		echo "# $device"
		echo
		./mito info 2>&1 | sed '/^Kernels/,$d; s/^/    /'
		printf '\n| part | result | time |\n|---|---|---|\n'
	} >"$out/gpu.md"

	# A sandbox may refuse the debugger's interface that compute-sanitizer needs: it is tried on a test that does little.
	sanitizer="compute-sanitizer is not installed"
	if command -v compute-sanitizer >/dev/null; then
		sanitizer=
		timeout -k 5 30 compute-sanitizer --error-exitcode 9 ./cudax.test -test.run TestAttributes >"$logs/sanitizer.log" 2>&1
		case $? in
		0 | 9) ;;
		*) sanitizer="compute-sanitizer does not work here: $(grep -m 1 -i 'error\|unable\|not supported' "$logs/sanitizer.log" | tr '|' ' ')" ;;
		esac
	fi

	part cudax 15 ./cudax.test -test.v
	part conformance 60 ./cuda.test -test.v -test.skip 'TestTrainingFollowsCPU|TestWithoutGPU'
	part digest 20 ./digest.test -test.v
	part curves 45 ./cuda.test -test.v -test.run TestTrainingFollowsCPU -steps 200
	if [ -z "$sanitizer" ]; then
		part memcheck 45 compute-sanitizer --error-exitcode 9 --leak-check no ./cuda.test -test.run 'TestTrainingFollowsCPU/edge|TestManyRows' -steps 3
		part racecheck 45 compute-sanitizer --tool racecheck --error-exitcode 9 ./cuda.test -test.run 'TestTrainingFollowsCPU/edge' -steps 3
		part racecheck-int8 30 compute-sanitizer --tool racecheck --error-exitcode 9 ./digest.test -test.run TestDigestIsTheRuntimes/cuda
		part synccheck 30 compute-sanitizer --tool synccheck --error-exitcode 9 ./cuda.test -test.run 'TestTrainingFollowsCPU/edge' -steps 3
	else
		for check in memcheck racecheck racecheck-int8 synccheck; do
			skipped "$check" "$sanitizer"
		done
	fi
	part training 40 ./cuda.test -test.run NONE -test.bench 'Training|Distillation' -test.benchtime 2s
	if [ -n "$text" ]; then
		for precision in bf16 fp32; do
			rm -rf "$logs/text-$precision"
			part "text-$precision" 60 ./mito train --corpus "$text" --model char --backend cuda --precision "$precision" \
				--optimizer adamw --lr 0.002 --steps 1000 --json --quiet --out "$logs/text-$precision"
			sed -n 's/.*"loss_nats": \([0-9.]*\).*/held-out loss '"$precision"': \1 nats/p' "$logs/text-$precision.log" 2>/dev/null |
				tee -a "$logs/losses"
		done
	else
		skipped text "no text file given"
	fi
	part operations 30 ./cuda.test -test.run NONE -test.bench Ops -test.benchtime 5x

	[ -f "$logs/losses" ] && {
		echo
		cat "$logs/losses"
	} >>"$out/$report.md"
	table "mito" "$logs/training.log"
	table "operations" "$logs/operations.log"
	rm -rf "$logs"/text-*[!g] # the models
	echo "written: $out/gpu.md and gpu-logs.tar.gz"
	exit "$failed"
}

peer() {
	begin pytorch "$1" "$2"
	printf '# PyTorch on %s\n\n| part | result | time |\n|---|---|---|\n' "$device" >"$out/pytorch.md"
	if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
		part pytorch 460 python3 pytorch_gpu.py --seconds 2
	else
		skipped pytorch "no PyTorch with CUDA"
	fi
	table "PyTorch" "$logs/pytorch.log"
	grep -s '^# ' "$logs/pytorch.log" | sed 's/^# /- /' >>"$out/pytorch.md" # what each mode compiles, and what did not work
	echo "written: $out/pytorch.md and pytorch-logs.tar.gz"
	exit "$failed"
}

[ $# -ge 2 ] || usage
case $1 in
build) build "$2" ;;
run) run "$2" "${3:-}" "${4:-}" ;;
peer) peer "$2" "${3:-}" ;;
*) usage ;;
esac

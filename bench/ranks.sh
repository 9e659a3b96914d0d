#!/usr/bin/env bash
# Two ranks of one thread against one process of two threads: tokens a second of the training, in interleaved
# rounds, and the processor time of whole runs, which other programs disturb less.
#   bench/ranks.sh [ROUNDS [FLAGS of mito train…]]
# It wants mpiexec of an MPI that has the standard ABI ('pip install mpich') in PATH, and its library in LD_LIBRARY_PATH or beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
shift || true
flags=("$@")
[ "${#flags[@]}" -gt 0 ] || flags=(--task connect4 --positions 4000 --arch mini --steps 60 --batch 64)
mpiexec=$(command -v mpiexec) || { echo "no mpiexec in PATH: pip install mpich has one"; exit 3; }
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$(dirname "$mpiexec")/../lib"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -tags dist -o "$tmp/mito" ./cmd/mito

# rate DIR is the median of the tokens a second that a run logged.
rate() {
	sed -n 's/.*"tokens_s": *\([0-9.e+]*\).*/\1/p' "$1/metrics.jsonl" | awk '$1 > 0' | sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}
median() { sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

# run HOW OUT FLAGS…: trains, and adds the processor seconds of it to a file of that name.
run() {
	local how=$1 out=$2 TIMEFORMAT='%U %S'
	shift 2
	{ time {
		case $how in
		threads*) "$tmp/mito" train "${flags[@]}" --log-every 5 --quiet --threads 2 --out "$out" "$@" >/dev/null ;;
		*) "$mpiexec" -n 2 "$tmp/mito" train "${flags[@]}" --log-every 5 --quiet --threads 1 --allreduce "${how%-one}" --out "$out" "$@" >/dev/null ;;
		esac
	} 2>&3 3>&-; } 3>&2 2>"$tmp/cpu"
	awk '{print $1 + $2}' "$tmp/cpu" >>"$tmp/cpu-$how"
}

different=0
for i in $(seq "$rounds"); do
	for how in threads ordered fast; do
		run $how "$tmp/$how-$i"
		run $how-one "$tmp/$how-one-$i" --steps 1 # what a run takes beside its steps
	done
	t=$(rate "$tmp/threads-$i") o=$(rate "$tmp/ordered-$i") f=$(rate "$tmp/fast-$i")
	cmp -s "$tmp/threads-$i/model/model.safetensors" "$tmp/ordered-$i/model/model.safetensors" && same=yes || same=NO different=1
	echo "round $i: 2 threads $t tok/s, 2 ranks ordered $o, fast $f; ordered has the bits of one process: $same"
	awk "BEGIN {print $o / $t}" >>"$tmp/ordered"
	awk "BEGIN {print $f / $t}" >>"$tmp/fast"
	rm -rf "$tmp"/{threads,ordered,fast}*-"$i"
done
for how in threads ordered fast; do
	echo "processor seconds, $how: $(median <"$tmp/cpu-$how") of a run, $(median <"$tmp/cpu-$how-one") of one with a single step"
done
echo "two ranks of one thread against two threads, medians of $rounds rounds: ordered $(median <"$tmp/ordered")x, fast $(median <"$tmp/fast")x"
if [ "$different" != 0 ]; then
	echo "two ranks in order have other weights than one process"
	exit 1
fi

# Sourced by the comparisons here: runs that alternate, ROUNDS (5) of each series, and their bests in
# seconds of user and system time.
set -eu
export LC_ALL=C
here=$(dirname "$(readlink -f "$0")")
ROUNDS=${ROUNDS:-5}
TIMEFORMAT='%U %S'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

parameters() { # NAME: V K Z R LOCKW SHARED DESIGN RMP KICK
	awk -F, -v name="$1" '$1 == name { print $2, $3, $4, $5, $6, $7, $8, $9, $10 }' \
		"$here/instances.csv"
}
spin_program() { # OUT OPTIONS PARAMETERS...
	local out=$1 options=$2 dir
	shift 2
	dir=$(mktemp -d -p "$tmp")
	(cd "$dir" && spin -DV="$1" -DK="$2" -DZ="$3" -DR="$4" -DLOCKW="$5" -DSHARED="$6" \
		-DDESIGN="$7" -DRMP="$8" -DKICK="$9" -a "$here/sept-race.pml" >/dev/null &&
		gcc -O2 -w -DSAFETY -DMEMLIM=6000 $options -o "$out" pan.c)
}
measure() { # SERIES COMMAND...: appends its seconds to SERIES.s, its output is SERIES.out
	local series=$tmp/$1
	shift
	{ time "$@" >"$series.out" 2>&1 || true; } 2>"$series.t"
	awk '{ print $1 + $2 }' "$series.t" >>"$series.s"
}
report() { # INSTANCE SERIES STATES TRANSITIONS BYTES
	sort -n "$tmp/$2.s" | awk -v i="$1" -v w="$2" -v n="$3" -v t="$4" -v b="$5" '
		NR == 1 { best = $1 } { worst = $1 } END {
		if (best == 0) best = 0.001
		printf "%-14s %-10s %10d states %11d transitions %8.2f s (+%2.0f%%) %6.2f M/s %s\n",
			i, w, n, t, best, (worst / best - 1) * 100, t / best / 1e6, b ? sprintf("%6.1f bytes", b / n) : "" }'
}
json() { sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p" "$tmp/$1.out"; }
best() { sort -n "$tmp/$1.s" | head -1; }
spin_says() { awk "$2" "$tmp/$1.out"; }

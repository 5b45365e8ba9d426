#!/usr/bin/env bash
# A million series and three million samples, kill -9, reopen: seconds until ready, and the first scrape with full labels after it.
# usage: recovery_bench.sh [BUILD=build/release] [SERIES=1000000] [SCRAPES=3]      TMPDIR says where the database lies
# Prints the JSON of reopen_bench. The page cache is warm, as it is where only the process was killed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/release}; series=${2:-1000000}; scrapes=${3:-3}
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
code=0
"$build/bench/reopen_bench" fill --db "$dir/db" --series "$series" --scrapes "$scrapes" --json >&2 || code=$?
[ "$code" = 137 ] || { echo "recovery_bench: the writer ended with $code instead of being killed" >&2; exit 1; }
"$build/bench/reopen_bench" open --db "$dir/db" --series "$series" --scrapes "$scrapes" --json

#!/usr/bin/env bash
# What the operators' tools take: replay, verify, remote write into a real Prometheus, and the peak memory of every tool at a million
# series. Prints one line a figure. (Import of Prometheus' blocks: prometheus_import.sh.)
# usage: operations.sh [BUILD=build/release] [PART...]     parts: replay verify remote memory (default: all)
# needs: prometheus (Debian package), curl, python3, /usr/bin/time. As root verify is measured with a cold cache too.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/release}; shift || true
[ $# -gt 0 ] || set -- replay verify remote memory
bin=$build/tools/chronolith
dir=$(mktemp -d); peer=
trap '[ -z "$peer" ] || kill "$peer" 2>/dev/null; rm -rf "$dir"' EXIT

# timed COMMAND...: leaves seconds, cpu and rss (KiB) of it; its stdout is in $dir/out.
timed() {
  /usr/bin/time -f '%e %U %S %M' -o "$dir/time" "$@" >"$dir/out" 2>"$dir/err" || { tail -n 5 "$dir/err" >&2; echo "failed: $*" >&2; exit 1; }
  local user system
  read -r seconds user system rss <"$dir/time"
  cpu=$(calc "$user + $system")
}
calc() { awk "BEGIN { printf \"%.2f\", $1 }"; }
mib() { awk "BEGIN { printf \"%.0f\", $1 / 1024 }"; }

# A log that nothing was stored of: the writer is killed before its first checkpoint.
killed() {
  local code=0
  "$build/bench/reopen_bench" fill --db "$1" --series "$2" --scrapes "$3" --json >/dev/null 2>&1 || code=$?
  [ "$code" = 137 ] || { echo "the writer ended with $code instead of being killed" >&2; exit 1; }
}

# The same of random walks, whose samples take some eight bytes each of the log.
killed_walks() {
  "$bin" bench write --db "$1" --series 20000 --scrapes 5000 --values walk --progress plain >/dev/null 2>"$dir/walks" &
  local writer=$!
  local word n
  while read -r word n; do
    if [ "$word" = logged ] && [ "$n" -ge 15000000 ]; then break; fi
  done < <(tail -n +1 -f --pid="$writer" -s 0.05 "$dir/walks")
  kill -9 "$writer"
  wait "$writer" 2>/dev/null || true
}

replay() {
  local million
  killed_walks "$dir/k"
  for i in 1 2 3; do
    timed "$bin" replay "$dir/k" --format json
    million=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["sent"] / 1e6)' <"$dir/out")
    echo "replay --target null, round $i: $(calc "$million") M samples in $seconds s: $(calc "$million / $seconds") M samples/s; $cpu s of CPU, $(mib "$rss") MiB"
  done
  rm -rf "$dir/k"
}

verify() {
  "$bin" bench write --db "$dir/w" --series 20000 --scrapes 1500 --values walk >/dev/null 2>&1
  local bytes cold=(warm); bytes=$(du -sb "$dir/w" | cut -f 1)
  sync
  [ "$EUID" = 0 ] && [ -w /proc/sys/vm/drop_caches ] && cold+=(cold)
  for cache in "${cold[@]}"; do
    for i in 1 2 3; do
      [ "$cache" = warm ] || echo 3 >/proc/sys/vm/drop_caches
      timed cat "$dir"/w/data/* "$dir"/w/log/*; local read=$seconds
      [ "$cache" = warm ] || echo 3 >/proc/sys/vm/drop_caches
      timed "$bin" verify "$dir/w" --format json
      echo "verify, $cache cache, round $i: $(calc "$bytes / 1048576") MiB, 30 M samples in $seconds s ($cpu s of CPU), read by cat in $read s: $(calc "$seconds / ($read > 0.01 ? $read : 0.01)") x"
    done
  done
  rm -rf "$dir/w"
}

remote() {
  killed "$dir/r" 20000 500
  local port=$((20000 + RANDOM % 20000)) before after
  printf 'global: {}\n' >"$dir/prometheus.yml"
  prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/p" --web.listen-address="127.0.0.1:$port" \
    --web.enable-remote-write-receiver >"$dir/p.log" 2>&1 &
  peer=$!
  curl -s --retry 60 --retry-connrefused --retry-delay 1 --retry-all-errors "http://127.0.0.1:$port/-/ready" >/dev/null
  before=$(awk '{ print $14 + $15 }' "/proc/$peer/stat")
  timed "$bin" replay "$dir/r" --target "remote-write:http://127.0.0.1:$port/api/v1/write" --format json
  after=$(awk '{ print $14 + $15 }' "/proc/$peer/stat")
  echo "replay to a Prometheus: 10 M samples in $seconds s: $(calc "10 / $seconds") M samples/s; we took $(calc "100 * $cpu / $seconds") % of a core, Prometheus $(calc "($after - $before) / $(getconf CLK_TCK) * 100 / $seconds") %"
  kill "$peer"; wait "$peer" || true; peer=
  rm -rf "$dir/r" "$dir/p"
}

memory() {
  local db=$dir/m tool
  "$bin" bench write --db "$db" --series 1000000 --scrapes 3 --values walk >/dev/null 2>&1
  cp -r "$db" "$dir/m2"
  killed "$dir/k" 1000000 3
  killed "$dir/r" 1000000 3
  # Each series has a label of its own.
  awk 'BEGIN { for (i = 0; i < 1000000; ++i) printf "own{id=\"series-%07d-of-a-million\"} %d 1700000000000\n", i, i }' >"$dir/own.txt"
  for tool in "inspect $db --html $dir/m.html" "cardinality $db" "stat $db" "verify $db" "verify $dir/k" "replay $dir/k" \
    "replay $dir/k --target jsonl:$dir/k.jsonl" "replay $dir/k --target db:$dir/k2" "dump-wal $dir/k --limit 1000000" "compact $dir/m2" \
    "query --db $db {}" "series --db $db" "series --db $db --metadata" "labels --db $db" "delete --db $db --match {} --dry-run" \
    "recover $dir/r" "export --db $db --to jsonl $dir/m.jsonl" "export --db $db --to csv $dir/m.csv" \
    "export --db $db --to openmetrics $dir/m.om" "import --db $dir/i1 $dir/m.om" "import jsonl --db $dir/i2 $dir/m.jsonl" \
    "import csv --db $dir/i3 $dir/m.csv" "import --db $dir/own $dir/own.txt" "values --db $dir/own id" \
    "export prometheus-block --db $dir/own $dir/ob" "import prometheus --db $dir/own2 $dir/ob" \
    "export prometheus-block --db $db $dir/mb" "import prometheus --db $dir/m3 $dir/mb" \
    "backup --db $db --to $dir/b" "restore --from $dir/b --to $dir/m4" "reshard $db $dir/m5 --shards 4" "salvage $db $dir/m6"; do
    # shellcheck disable=SC2086
    timed "$bin" $tool
    echo "memory at 1 M series: ${tool//"$dir"\//}: $(mib "$rss") MiB, $seconds s, $cpu s of CPU"
  done
}

for part in "$@"; do
  case $part in
    replay | verify | remote | memory) "$part" ;;
    *) echo "operations.sh: no part '$part'" >&2; exit 2 ;;
  esac
done

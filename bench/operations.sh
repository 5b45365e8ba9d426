#!/usr/bin/env bash
# What the operators' tools take: replay, verify, remote write into a real Prometheus, and the peak memory of every tool at a million
# series. Prints one line a figure. (Import of Prometheus' blocks: prometheus_import.sh.)
# usage: operations.sh [BUILD=build/release] [PART...]     parts: replay verify remote memory beside (default: all)
# needs: prometheus (Debian package), curl, python3, /usr/bin/time. As root verify is measured with a cold cache too.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/release}; shift || true
[ $# -gt 0 ] || set -- replay verify remote memory beside
bin=$build/tools/chronolith
dir=$(mktemp -d); peer=
trap 'if [ -n "$peer" ]; then kill -9 "$peer" 2>/dev/null || true; wait "$peer" 2>/dev/null || true; fi; rm -rf "$dir"' EXIT

# timed COMMAND...: leaves seconds, cpu and rss (KiB) of it; its stdout is in $dir/out. It fails where that ends with anything but $code.
code=0
timed() {
  local ended=0 user system
  /usr/bin/time -q -f '%e %U %S %M' -o "$dir/time" "$@" >"$dir/out" 2>"$dir/err" || ended=$?
  if [ "$ended" != "$code" ]; then tail -n 5 "$dir/err" >&2; echo "ended with $ended instead of $code: $*" >&2; return 1; fi
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

# Begins the program as $peer, and returns when it has logged N samples: `logged N COMMAND...`
logged() {
  local least=$1 word n; shift
  : >"$dir/told"  # for who reads it before the program has begun
  "$bin" "$@" --progress plain >/dev/null 2>"$dir/told" &
  peer=$!
  while read -r word n; do
    if [ "$word" = logged ] && [ "$n" -ge "$least" ]; then return 0; fi
  done < <(tail -n +1 -f --pid="$peer" -s 0.05 "$dir/told")
  echo "the writer came to its end before" >&2
  exit 1
}
stop_peer() {
  kill -9 "$peer" || { echo "the writer came to its end before it was killed" >&2; exit 1; }
  wait "$peer" 2>/dev/null || true; peer=
}

# The same by the program: `killed_at N COMMAND...` is killed when it has logged N samples.
killed_at() {
  logged "$@"
  stop_peer
}

replay() {
  local million
  # Random walks, whose samples take some eight bytes each of the log.
  killed_at 15000000 bench write --db "$dir/k" --series 20000 --scrapes 5000 --values walk
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

# peak COMMAND...: the peak memory of one command, and whether it is within the limit of all.
peak() {
  if ! timed "$bin" "$@"; then failed=$((failed + 1)); return 0; fi
  local above=
  if [ "$rss" -gt $((256 * 1024)) ]; then above=" ABOVE THE LIMIT" over=$((over + 1)); fi
  echo "memory at 1 M series: ${*//"$dir"\//}: $(mib "$rss") MiB$above, $seconds s, $cpu s of CPU"
}

# What reads a store or copies it: readers STORE NAME
readers() {
  peak stat "$1"
  peak inspect "$1" --html "$dir/x.html"
  peak cardinality "$1"
  peak verify "$1"
  peak query --db "$1" '{}'
  peak series --db "$1"
  peak series --db "$1" --metadata
  peak labels --db "$1"
  peak values --db "$1" "$2"
  peak delete --db "$1" --match '{}' --dry-run
  peak export --db "$1" --to jsonl "$dir/x.jsonl"
  peak export --db "$1" --to csv "$dir/x.csv"
  peak export --db "$1" --to openmetrics "$dir/x.om"
  peak export prometheus-block --db "$1" "$dir/x.blocks"
  peak import --db "$dir/x1" "$dir/x.om"
  peak import jsonl --db "$dir/x2" "$dir/x.jsonl"
  peak import csv --db "$dir/x3" "$dir/x.csv"
  peak import prometheus --db "$dir/x4" "$dir/x.blocks"
  peak backup --db "$1" --to "$dir/x.backup"
  peak restore --from "$dir/x.backup" --to "$dir/x5"
  peak reshard "$1" "$dir/x6" --shards 4
  peak salvage "$1" "$dir/x7"
  peak compact "$dir/x1"
  peak delete "$dir/x2" --match '{__name__!=""}' --yes
  peak compact "$dir/x2"
  rm -rf "$dir"/x*
}

# What reads a log that nothing was stored of: its writer was killed.
logs() {
  peak verify "$1"
  peak dump-wal "$1" --limit 1000000
  peak replay "$1"
  peak replay "$1" --target "jsonl:$dir/x.jsonl"
  peak replay "$1" --target "db:$dir/x1"
  peak salvage "$1" "$dir/x2"
  peak recover "$1" --dry-run
  peak reshard "$1" "$dir/x3" --shards 4
  peak export prometheus-block --db "$1" "$dir/x.blocks"
  peak export --db "$1" --to jsonl "$dir/x.all.jsonl"
  peak stat "$1"
  peak query --db "$1" '{}'
  peak series --db "$1"
  peak labels --db "$1"
  peak values --db "$1" __name__
  peak delete --db "$1" --match '{}' --dry-run
  peak inspect "$1" --html "$dir/x.html"
  peak cardinality "$1"
  peak compact "$1" --dry-run
  peak backup --db "$1" --to "$dir/x.backup"
  peak restore --from "$dir/x.backup" --to "$dir/x5"
  peak recover "$1" --archive "$dir/x.archive"
  peak archive list "$dir/x.archive"
  rm -rf "$dir"/x*
}

# Of the largest file of PATTERN the byte so many per mill of the way: flip PATTERN PLACE
flip() {
  python3 - "$@" <<'FLIP'
import glob, os, sys
path = max(glob.glob(sys.argv[1]), key=os.path.getsize)
with open(path, "r+b") as file:
    file.seek((os.path.getsize(path) - 1) * int(sys.argv[2]) // 1000)
    byte = file.read(1)[0]
    file.seek(-1, os.SEEK_CUR)
    file.write(bytes([byte ^ 16]))
FLIP
}

# What is asked of such a log when one of its bytes is wrong, nine tenths of the way: damaged STORE
damaged() {
  flip "$1/log/*.log" 900
  local code=3  # it is said what is damaged
  peak verify "$1"
  peak inspect "$1"
  peak cardinality "$1"
  peak salvage "$1" "$dir/x1"
  peak salvage "$1" --dry-run
  peak recover "$1" --accept-data-loss --dry-run
  code=1  # it is refused
  peak recover "$1"
  peak dump-wal "$1"
  peak replay "$1"
  peak stat "$1"
  peak query --db "$1" '{}'
  peak labels --db "$1"
  peak export --db "$1" --to jsonl "$dir/x.jsonl"
  peak reshard "$1" "$dir/x3" --shards 4
  peak backup --db "$1" --to "$dir/x.backup"
  code=3
  peak recover "$1" --accept-data-loss --yes
  code=0
  peak verify "$1"
  rm -rf "$dir"/x*
}

# What is asked of a store that has a shard in quarantine, and a large log: quarantined STORE
quarantined() {
  flip "$1/data/*.sst" 1000  # the end of its footer
  local code=3  # it is said what is damaged
  peak verify "$1"
  peak inspect "$1"
  peak cardinality "$1"
  peak stat "$1"
  peak query --db "$1" '{}' --skip-damaged
  peak labels --db "$1" --skip-damaged
  peak compact "$1" --dry-run
  peak recover "$1" --dry-run
  peak salvage "$1" "$dir/x1"
  code=1  # not all of it can be read
  peak query --db "$1" '{}'
  peak labels --db "$1"
  peak export --db "$1" --to jsonl "$dir/x.jsonl"
  peak backup --db "$1" --to "$dir/x.backup"
  code=0
  peak dump-wal "$1" --limit 1000000
  peak replay "$1"
  rm -rf "$dir"/x*
}

within() { [ "$over$failed" = 00 ] || { echo "operations.sh: $over took more than 256 MiB, $failed failed" >&2; exit 1; }; }

memory() {
  local over=0 failed=0
  echo "a million series of one sample, each with a label of its own:"
  awk 'BEGIN { for (i = 0; i < 1000000; ++i) printf "own{id=\"series-%07d-of-a-million\"} %d 1700000000000\n", i, i }' >"$dir/own.txt"
  peak import --db "$dir/own" "$dir/own.txt"
  readers "$dir/own" id
  rm -rf "$dir/own"
  echo "nearly all of them in no more than the log:"
  killed_at 900000 import --memory-limit 4GiB --db "$dir/own" "$dir/own.txt"
  logs "$dir/own"
  rm -rf "$dir"/own*
  echo "the same, each with a label name of its own:"
  awk 'BEGIN { for (i = 0; i < 1000000; ++i) printf "own{name_%07d_of_a_million=\"v\"} %d 1700000000000\n", i, i }' >"$dir/own.txt"
  peak import --db "$dir/own" "$dir/own.txt"
  readers "$dir/own" __name__
  rm -rf "$dir/own"
  echo "nearly all of them in no more than the log:"
  killed_at 900000 import --memory-limit 4GiB --db "$dir/own" "$dir/own.txt"
  logs "$dir/own"
  rm -rf "$dir"/own*
  echo "the log of a million series of ten labels, three samples each:"
  killed "$dir/k" 1000000 3
  logs "$dir/k"
  rm -rf "$dir/k"
  echo "the same of twenty samples each, random walks:"
  killed_at 18000000 bench write --db "$dir/k" --series 1000000 --scrapes 20 --block-scrapes 20 --values walk
  cp -r "$dir/k" "$dir/broken"
  logs "$dir/k"
  rm -rf "$dir/k"
  echo "the same with a damaged byte:"
  damaged "$dir/broken"
  rm -rf "$dir/broken"
  echo "a log in the middle of its first checkpoint, a table of which is damaged:"
  logged 36000000 bench write --db "$dir/k" --series 1000000 --scrapes 100 --block-scrapes 20 --values walk
  until compgen -G "$dir/k/data/*.sst" >/dev/null; do kill -0 "$peer"; sleep 0.05; done
  stop_peer
  quarantined "$dir/k"
  rm -rf "$dir/k"
  echo "a million series of ten labels, three samples each, stored:"
  "$bin" bench write --db "$dir/m" --series 1000000 --scrapes 3 --values walk >/dev/null 2>&1
  readers "$dir/m" instance
  within
}

# Beside a process that writes to the same database, from when that has logged ten samples of each series; some 10 GB of disk.
beside() {
  local over=0 failed=0 tool
  logged 10000000 bench write --db "$dir/live" --series 1000000 --scrapes 3000 --block-scrapes 1 --values walk
  echo "beside a writer of a million series:"
  for tool in query verify dump-wal replay inspect cardinality labels stat; do
    echo "  its log now takes $(du -cb "$dir"/live/log/*.log | tail -n 1 | cut -f 1 | numfmt --to-unit=1000000) MB"
    case $tool in
      query) peak query --db "$dir/live" '{}' ; echo "  which were $(wc -l <"$dir/out") lines" ;;
      labels) peak labels --db "$dir/live" ;;
      dump-wal) peak dump-wal "$dir/live" --limit 1000000 ;;
      *) peak "$tool" "$dir/live" ;;
    esac
  done
  stop_peer
  rm -rf "$dir/live"
  within
}

for part in "$@"; do
  case $part in
    replay | verify | remote | memory | beside) "$part" ;;
    *) echo "operations.sh: no part '$part'" >&2; exit 2 ;;
  esac
done

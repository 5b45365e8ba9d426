#!/usr/bin/env bash
# remote_write.sh BUILD [RUNS]: the same load of remote write on chronolithd, VictoriaMetrics and Prometheus, one after the other, each
# on an empty directory in memory: server CPU a sample at 500 and 5,000 series a request, of new series, and peak memory of a million.
set -euo pipefail
build=$1 runs=${2:-1}
load=$build/bench/remote_write_bench
dir=$(mktemp -d /dev/shm/remote-write-bench.XXXXXX)
server=
stop() {
  [[ -z $server ]] || { kill "$server" && wait "$server" || true; }
  server=
}
trap 'stop; rm -rf "$dir"' EXIT

# start NAME: sets $server and $port, when it answers.
start() {
  rm -rf "${dir:?}"/*
  port=$((20000 + RANDOM % 10000))
  case $1 in
    chronolithd) "$build/tools/chronolithd" --db "$dir/db" --listen "127.0.0.1:$port" --log-level warning >/dev/null & ;;
    victoria-metrics) victoria-metrics -storageDataPath "$dir/vm" -httpListenAddr "127.0.0.1:$port" -retentionPeriod 10y >"$dir/log" 2>&1 & ;;
    prometheus)
      echo 'global: {}' >"$dir/prometheus.yml"
      prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/prometheus" --web.enable-remote-write-receiver \
        --web.listen-address="127.0.0.1:$port" >"$dir/log" 2>&1 &
      ;;
  esac
  server=$!
  for _ in $(seq 600); do
    curl -sf "http://127.0.0.1:$port/metrics" >/dev/null && return
    sleep 0.1
  done
  echo "$1 does not answer" >&2
  exit 1
}

# run NAME WHAT ARGS...: on a fresh server.
run() {
  local name=$1 what=$2
  shift 2
  start "$name"
  printf '%-17s %-22s ' "$name" "$what"
  "$load" --port "$port" --pid "$server" "$@"
  stop
}

for _ in $(seq "$runs"); do
  for name in chronolithd victoria-metrics prometheus; do
    run "$name" "500 a request" --series 20000 --per-request 500 --rounds 150
    run "$name" "5000 a request" --series 20000 --per-request 5000 --rounds 150
    run "$name" "new series" --series 50000 --per-request 5000 --warm-rounds 1 --rounds 3 --new
    run "$name" "1 M series x 3" --series 1000000 --per-request 5000 --warm-rounds 0 --rounds 3
  done
done

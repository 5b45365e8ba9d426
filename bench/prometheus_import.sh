#!/bin/bash
# Importing the data of a Prometheus against making it: `promtool tsdb create-blocks-from openmetrics` of random walks, then
# `chronolith import prometheus` of the blocks that it wrote: the same samples. Wall seconds of both, in turn; of the second the close of the
# database is a part.
#   bench/prometheus_import.sh [PROGRAM [SERIES [SAMPLES [ROUNDS]]]]     10000 1000 3; 1.2 GB of disk in $TMPDIR
set -eu
program=${1:-build/release/tools/chronolith} series=${2:-10000} samples=${3:-1000} rounds=${4:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$series" "$samples" > "$work/walks.om" <<'PY'
import random, sys
series, samples = int(sys.argv[1]), int(sys.argv[2])
rng = random.Random(1)
print("# TYPE walk gauge")
for s in range(series):
    v, lines = rng.random() * 1000, []
    for k in range(samples):
        v += rng.gauss(0, 1)
        lines.append('walk{job="bench",instance="host-%d"} %r %d' % (s, v, 1700006400 + 15 * k))
    print("\n".join(lines))
print("# EOF")
PY
for round in $(seq "$rounds"); do
  rm -rf "$work/data" "$work/db"
  begin=$(date +%s.%N)
  promtool tsdb create-blocks-from openmetrics "$work/walks.om" "$work/data" > /dev/null
  middle=$(date +%s.%N)
  "$program" import prometheus --quiet --db "$work/db" --format json "$work/data" > "$work/report.json" 2> /dev/null
  end=$(date +%s.%N)
  python3 - "$begin" "$middle" "$end" "$work/report.json" <<'PY'
import json, sys
begin, middle, end = map(float, sys.argv[1:4])
n = json.load(open(sys.argv[4]))["samples"]
print("%d samples: promtool %.2f s (%.2f M/s), chronolith %.2f s (%.2f M/s): %.1f x" %
      (n, middle - begin, n / (middle - begin) / 1e6, end - middle, n / (end - middle) / 1e6, (middle - begin) / (end - middle)))
PY
done

#!/usr/bin/env bash
# Replay under a memory limit of the kernel's: a store whose writer was killed is opened in a control group of its own.
# usage: recovery_cgroup.sh [BUILD=build/release] [LIMIT_MIB=384] [SERIES=1000000] [SCRAPES=3]   TMPDIR: where the database lies, a disk
# Prints the JSON of `reopen_bench ready`. Fails where the kernel kills it. Needs the right to make control groups (root).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/release}; limit=${2:-384}; series=${3:-1000000}; scrapes=${4:-3}
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  group=/sys/fs/cgroup/chronolith.$$ file=memory.max
else
  group=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)/chronolith.$$ file=memory.limit_in_bytes
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"; rmdir "$group" 2>/dev/null || true' EXIT
mkdir "$group"
echo $((limit << 20)) >"$group/$file"
code=0
"$build/bench/reopen_bench" fill --db "$dir/db" --series "$series" --scrapes "$scrapes" --json >&2 || code=$?
[ "$code" = 137 ] || { echo "recovery_cgroup: the writer ended with $code instead of being killed" >&2; exit 1; }
(echo "$BASHPID" >"$group/cgroup.procs" && exec "$build/bench/reopen_bench" ready --db "$dir/db" --series "$series" --scrapes "$scrapes" --json)

# Shared by tools/test, tools/quickstart and .ci/run: source it, do not run it. Expects `root`, the top of the checkout, and for
# run_ctest `jobs`, how many tests to run at once.
# shellcheck shell=bash
# shellcheck disable=SC2154

say() { printf '\n== %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# packages_of GROUP...: the names in tools/packages of these groups.
packages_of() {
  local name group
  while read -r name group _; do
    [[ $name == '#'* || -z $name ]] && continue
    [[ " $* " == *" $group "* ]] && printf '%s\n' "$name"
  done <"$root/tools/packages"
  return 0
}

# Packages of servers start themselves when they are installed. A policy-rc.d that forbids it stands while apt runs; whatever
# stood there before is put back, also after an interrupted run.
readonly policy=/usr/sbin/policy-rc.d policy_saved=/usr/sbin/policy-rc.d.before-chronolith
policy_restore() {
  if [[ -e $policy_saved ]]; then
    as_root mv -f "$policy_saved" "$policy"
  elif [[ -e $policy ]] && grep -q chronolith-guard "$policy"; then
    as_root rm -f "$policy"
  fi
}
policy_forbid() {
  policy_restore
  if [[ -e $policy ]]; then as_root mv "$policy" "$policy_saved"; fi
  printf '#!/bin/sh\n# chronolith-guard\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
}

# What installed packages stand for besides: NodeSource's nodejs has npm in it, and conflicts with the package npm.
provided_packages() {
  dpkg-query -W -f='${db:Status-Status},${Provides}\n' | sed -n 's/^installed,//p' | tr ',' '\n' | sed 's/(.*//; s/ //g; /^$/d' | sort -u
}

# install_packages GROUP...: installs what is missing; asks apt nothing where all is there.
install_packages() {
  local -a missing=()
  local name provided
  provided=$(provided_packages)
  for name in $(packages_of "$@"); do
    if [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]]; then continue; fi
    if ! grep -qx -F -e "$name" <<<"$provided"; then missing+=("$name"); fi
  done
  if [[ ${#missing[@]} -eq 0 ]]; then return 0; fi
  if [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null; then
    die "these Debian packages are missing and installing them needs root or sudo: ${missing[*]}"
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  # In a subshell, with which the trap ends. Where the update fails, the installation says what it lacks.
  (
    trap policy_restore EXIT
    policy_forbid || exit 1
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null >&2 || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
      install --no-install-recommends "${missing[@]}" </dev/null >&2
  ) || die "apt-get could not install: ${missing[*]}"
  # The guard keeps a server from starting now; this keeps it from starting at the next boot.
  for name in prometheus prometheus-node-exporter victoria-metrics; do
    if [[ " ${missing[*]} " == *" $name "* ]]; then as_root update-rc.d "$name" disable >/dev/null 2>&1 || true; fi
  done
}

jobs_default() { nproc 2>/dev/null || echo 2; }

# Lines of a long build are of use only when it fails or somebody watches.
# quietly LOG COMMAND...: runs it with its output in LOG; shows the end of it on failure.
quietly() {
  local log=$1
  shift
  if "$@" >"$log" 2>&1 </dev/null; then return 0; fi
  tail -n 80 "$log" >&2
  return 1
}

# ThreadSanitizer of clang 14 cannot map its shadow under the wide address randomisation of newer kernels: without it, where the
# system lets us switch it off.
declare -a test_launcher=()
without_aslr() {
  if setarch --addr-no-randomize true 2>/dev/null; then test_launcher=(setarch --addr-no-randomize); fi
}

# run_ctest BUILD_DIR CTEST_ARGUMENTS...: runs the tests and adds their numbers to tests_passed and tests_failed.
# False where one failed or none ran.
tests_passed=0
tests_failed=0
run_ctest() {
  local dir=$1 report status=0 total failed
  shift
  report=$(cd "$dir" && pwd)/ctest.xml
  rm -f "$report"
  "${test_launcher[@]}" ctest --test-dir "$dir" --output-on-failure --timeout 600 -j "$jobs" --output-junit "$report" "$@" </dev/null || status=$?
  if [[ ! -e $report ]]; then
    printf 'error: ctest in %s wrote no report\n' "$dir" >&2
    return 1
  fi
  # The root element carries the totals; a test that was skipped or could not run has not passed.
  total=$(grep -o -m1 '^[[:space:]]*tests="[0-9]*"' "$report" | tr -dc 0-9)
  failed=$(($(count_of failures) + $(count_of skipped) + $(count_of disabled)))
  tests_passed=$((tests_passed + total - failed))
  tests_failed=$((tests_failed + failed))
  if [[ $total -eq 0 ]]; then
    printf 'error: no test ran in %s\n' "$dir" >&2
    return 1
  fi
  [[ $status -eq 0 && $failed -eq 0 ]]
}
count_of() {
  local n
  n=$(grep -o -m1 "^[[:space:]]*$1=\"[0-9]*\"" "$report" | tr -dc 0-9)
  printf '%s' "${n:-0}"
}

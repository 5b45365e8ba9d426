#!/usr/bin/env bash
# tools_install.sh BUILD_DIR WORK_DIR: the component tools installed into a fresh prefix: the programs, what shells complete them with,
# and their manual, where they look for them.
set -euo pipefail
build=$1 work=$2
rm -rf "$work"
cmake --install "$build" --prefix "$work" --component tools >/dev/null
[[ -x $work/bin/chronolith ]]
program=$work/bin/chronolith  # needs no other component
cmp <("$program" completion bash) "$work/share/bash-completion/completions/chronolith"
cmp <("$program" completion zsh) "$work/share/zsh/site-functions/_chronolith"
cmp <("$program" completion fish) "$work/share/fish/vendor_completions.d/chronolith.fish"
"$program" man --output "$work/expected"
diff -r "$work/expected" "$work/share/man/man1"
[[ -e $work/share/man/man1/chronolith.1 && -e $work/share/man/man1/chronolith-bench-write.1 ]]
daemon=$work/bin/chronolithd
cmp <("$daemon" --completion bash) "$work/share/bash-completion/completions/chronolithd"
cmp <("$daemon" --completion zsh) "$work/share/zsh/site-functions/_chronolithd"
cmp <("$daemon" --completion fish) "$work/share/fish/vendor_completions.d/chronolithd.fish"
cmp <("$daemon" --man) "$work/share/man/man8/chronolithd.8"
for example in prometheus.yml vmagent.yml otel-collector.yml prometheus-rules.yml grafana-dashboard.json; do
  [[ -s $work/share/doc/chronolith/examples/$example ]]
done

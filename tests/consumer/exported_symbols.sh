#!/usr/bin/env bash
# exported_symbols.sh LIBRARY...: a strong symbol that a library exports is in the namespace chronolith, so that nothing of ours
# clashes with the host's own code; and none of it belongs to the internals of the engine.
set -euo pipefail
status=0
for library in "$@"; do
  symbols=$(nm -DC --defined-only "$library")
  ours=$(grep -c ' T chronolith::' <<<"$symbols" || true)
  # Upper-case letters are global; V, W and u are weak or unique: templates of the standard library.
  foreign=$(awk '$2 ~ /^[TDBR]$/' <<<"$symbols" | grep -Ev ' [TDBR] (vtable for |typeinfo for |typeinfo name for |VTT for )?chronolith::' || true)
  leaked=$(grep -E ' (rocksdb|absl|prometheus|roaring|re2)::' <<<"$symbols" | grep -E '^[0-9a-f]+ [TDBR]' || true)
  printf '%s: %s functions exported\n' "$(basename "$library")" "$ours"
  if [[ $ours -eq 0 || -n $foreign || -n $leaked ]]; then
    printf 'error: exported outside the namespace chronolith:\n%s\n%s\n' "$foreign" "$leaked"
    status=1
  fi
done
exit $status

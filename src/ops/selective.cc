#include "ops/selective.h"

#include <algorithm>

#include "index/compiled_matcher.h"

namespace chronolith::ops {

Result<bool> IsSelective(const std::vector<Matcher>& selector) {
  // As a rule one of them says so without an expression to compile.
  const bool plain = std::any_of(selector.begin(), selector.end(), [](const Matcher& m) {
    return m.value.empty() ? m.type == Matcher::Type::kNotEqual : m.type == Matcher::Type::kEqual;
  });
  if (plain) return true;
  std::vector<CompiledMatcher> compiled;
  if (Status s = CompiledMatcher::CompileAll(selector, &compiled); !s.ok()) return s;
  return std::any_of(compiled.begin(), compiled.end(), [](const CompiledMatcher& m) { return !m.MatchesEmpty(); });
}

}  // namespace chronolith::ops

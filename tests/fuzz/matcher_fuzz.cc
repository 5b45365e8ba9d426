// Any bytes as a matcher and a value (separated by the first newline): the shortcuts answer as RE2 itself does.
#include <re2/re2.h>

#include <string>

#include "index/compiled_matcher.h"
#include "index/utf8.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = FuzzBytes(data, size);
  const std::size_t cut = bytes.find('\n');
  const std::string pattern(bytes.substr(0, cut));
  if (pattern.size() > 1000) return 0;
  const std::string value(cut == std::string_view::npos ? std::string_view() : bytes.substr(cut + 1));
  const Result<CompiledMatcher> compiled = CompiledMatcher::Compile(Matcher::Regex("l", pattern));
  RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  const RE2 regex(pattern, options);
  // RE2 takes surrogates (ED A0 80 and on) for characters; as UTF-8 they are refused here, as in Go.
  FUZZ_CHECK(compiled.ok() == (regex.ok() && IsValidUtf8(pattern)));
  if (!compiled.ok()) return 0;
  for (const std::string& text : {value, pattern, std::string()}) {
    // RE2 takes no part in what is not UTF-8, and labels never hold it.
    const bool expected = RE2::FullMatch(text, regex);
    if (compiled->shape() == CompiledMatcher::Shape::kGeneral || RE2::FullMatch(text, "(?s:.*)")) {
      FUZZ_CHECK(compiled->Matches(text) == expected);
      if (expected) FUZZ_CHECK(text.starts_with(compiled->prefix()));
    }
  }
  return 0;
}

// Any bytes as selector, point in time, duration, JSON label set and value: what is accepted reads back the same from what we
// write.
#include <bit>
#include <string>

#include "interop/label_json.h"
#include "interop/selector.h"
#include "interop/text_scan.h"
#include "interop/time_text.h"
#include "interop/value_text.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;
using namespace chronolith::interop;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = FuzzBytes(data, size);

  if (const auto matchers = ParseSelector(text); matchers.ok()) {
    std::string written = "{";
    for (const Matcher& m : *matchers) written.append(m.ToString()).append(",");
    const auto again = ParseSelector(written.append("}"));
    FUZZ_CHECK(again.ok() && *again == *matchers);
  } else {
    FUZZ_CHECK(matchers.status().message().size() < 500 + size);
  }

  constexpr Timestamp kNow = 1'700'000'000'000;
  if (const auto t = ParseTime(text, kNow); t.ok()) {
    const auto again = ParseTime(FormatTime(*t), kNow);
    FUZZ_CHECK(again.ok() && *again == *t);
  }
  if (const auto d = ParseDuration(text); d.ok()) FUZZ_CHECK(*d >= 0);

  if (const auto labels = ParseLabelJson(text); labels.ok()) {
    std::string json = "{";
    for (const Label& label : *labels) {
      if (json.size() > 1) json.push_back(',');
      AppendJsonString(label.name, &json);
      json.push_back(':');
      AppendJsonString(label.value, &json);
    }
    const auto again = ParseLabelJson(json.append("}"));
    FUZZ_CHECK(again.ok() && *again == *labels);
  }

  double v = 0;
  if (ParseValue(text, &v)) {
    double again = 0;
    FUZZ_CHECK(ParseValue(FormatValue(v), &again) && std::bit_cast<std::uint64_t>(again) == std::bit_cast<std::uint64_t>(v));
  }
  Timestamp ms = 0;
  (void)ParseMillis(text, &ms);
  (void)ParseSeconds(text, &ms);
  return 0;
}

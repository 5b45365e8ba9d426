// Any bytes as selector, point in time, duration, JSON label set, JSON line, CSV and value: what is accepted reads back the same
// from what we write.
#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "interop/csv_text.h"
#include "interop/json_lines.h"
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

  if (const auto series = ParseJsonSeries(text); series.ok()) {
    std::string json;
    JsonLinesWriter writer(&json);
    std::optional<Metadata> metadata;
    if (!series->metadata.empty()) metadata = series->metadata[0];
    writer.BeginSeries(series->labels, metadata);
    // Few enough for one line.
    const std::size_t samples = std::min<std::size_t>(series->samples.size(), 1000);
    for (std::size_t i = 0; i < samples; ++i) writer.AddSample(series->samples[i]);
    for (const HistogramSample& h : series->histograms) writer.AddHistogram(h.timestamp, h.histogram);
    writer.EndSeries();
    const auto again = ParseJsonSeries(json.substr(0, json.find('\n')));
    FUZZ_CHECK(json.empty() || (again.ok() && again->labels == series->labels));
    FUZZ_CHECK(samples > 0 ? again->samples.size() == samples : true);
  }
  bool header = true;
  CsvMapper mapper({});
  std::vector<std::pair<Labels, Sample>> samples;
  CsvReader csv([&](std::uint64_t, const Status& status, const std::vector<std::string>& fields) {
    if (header) {
      header = !(status.ok() && mapper.SetHeader(fields).ok());
    } else if (status.ok()) {
      (void)mapper.Map(fields, &samples);
    }
  });
  csv.Feed(text);
  csv.Finish();

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

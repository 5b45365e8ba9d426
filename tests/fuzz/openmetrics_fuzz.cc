// Any bytes as metrics in text: read in one piece and in many gives the same, every line is accounted for, strict mode stops at the
// first refused line, and what was accepted reads back from a text that we write.
#include <bit>
#include <string>
#include <vector>

#include "interop/openmetrics.h"
#include "interop/value_text.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;
using namespace chronolith::interop;

namespace {

class Collector : public ExpositionSink {
 public:
  Result<std::uint64_t> OnSeries(const Labels& labels) override {
    FUZZ_CHECK(!labels.Get(kMetricName).empty());
    names_.push_back(labels);
    return names_.size() - 1;
  }
  Status OnMetadata(std::uint64_t series, std::uint64_t, const Metadata&) override {
    FUZZ_CHECK(series < names_.size());
    return Status::Ok();
  }
  Status OnSample(std::uint64_t series, std::uint64_t line, Sample sample) override {
    FUZZ_CHECK(series < names_.size());
    FUZZ_CHECK(lines.empty() || line > lines.back());
    lines.push_back(line);
    series_of.push_back(names_[series]);
    samples.push_back(sample);
    return Status::Ok();
  }
  Status OnExemplar(std::uint64_t, std::uint64_t line, Exemplar) override {
    FUZZ_CHECK(!lines.empty() && lines.back() == line);
    return Status::Ok();
  }
  void OnRefused(std::uint64_t line, const Status& reason) override {
    FUZZ_CHECK(!reason.ok() && reason.message().size() < 400);
    refused.push_back(line);
  }

  std::vector<std::uint64_t> lines;
  std::vector<Labels> series_of;
  std::vector<Sample> samples;
  std::vector<std::uint64_t> refused;

 private:
  std::vector<Labels> names_;
};

void Read(std::string_view text, std::size_t piece, ParserOptions options, Collector* sink) {
  ExpositionParser parser(options, sink);
  Status status;
  for (std::size_t at = 0; at < text.size(); at += piece) status = parser.Feed(text.substr(at, piece));
  status = parser.Finish();
  FUZZ_CHECK(status.ok() == (!options.strict || sink->refused.empty()));
  FUZZ_CHECK(parser.stats().samples == sink->samples.size());
  FUZZ_CHECK(parser.stats().refused == sink->refused.size());
}

bool SameSamples(const Collector& a, const Collector& b) {
  if (a.samples.size() != b.samples.size()) return false;
  for (std::size_t i = 0; i < a.samples.size(); ++i) {
    if (a.series_of[i] != b.series_of[i] || a.samples[i].timestamp != b.samples[i].timestamp ||
        std::bit_cast<std::uint64_t>(a.samples[i].value) != std::bit_cast<std::uint64_t>(b.samples[i].value)) {
      return false;
    }
  }
  return true;
}

std::string Write(const Collector& c) {
  std::string text;
  for (std::size_t i = 0; i < c.samples.size(); ++i) {
    text.push_back('{');
    for (const Label& label : c.series_of[i]) {
      text.append(label.name).append("=\"");
      for (const char b : label.value) text.append(b == '"' ? "\\\"" : b == '\\' ? "\\\\" : b == '\n' ? "\\n" : std::string(1, b));
      text.append("\",");
    }
    text.append("} ")
        .append(FormatValue(c.samples[i].value))
        .append(" ")
        .append(std::to_string(c.samples[i].timestamp))
        .append("\n");
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t piece = 1 + data[0];
  ParserOptions options;
  options.format = static_cast<TextFormat>(data[1] % 3);
  if (data[1] >= 128) options.default_timestamp = 7;
  options.max_line_bytes = 200;
  options.series_cache_bytes = data[1] % 2 == 0 ? 1 << 20 : 100;
  const std::string_view text = FuzzBytes(data, size).substr(2);

  Collector whole;
  Read(text, size, options, &whole);
  Collector pieces;
  Read(text, piece, options, &pieces);
  FUZZ_CHECK(SameSamples(whole, pieces) && whole.lines == pieces.lines && whole.refused == pieces.refused);

  options.strict = true;
  Collector strict;
  Read(text, piece, options, &strict);
  FUZZ_CHECK(strict.refused.size() == (whole.refused.empty() ? 0U : 1U));
  FUZZ_CHECK(strict.refused.empty() || strict.refused[0] == whole.refused[0]);

  ParserOptions plain;
  plain.format = TextFormat::kPrometheus;
  Collector again;
  Read(Write(whole), 1000, plain, &again);
  FUZZ_CHECK(again.refused.empty() && SameSamples(whole, again));
  return 0;
}

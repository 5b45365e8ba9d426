// Random texts against a plain model, cut into chunks at random places.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "interop/openmetrics.h"
#include "tests/contract/seed.h"
#include "tests/interop/recording_sink.h"

namespace chronolith::interop {
namespace {

using Random = std::mt19937_64;

std::size_t Below(Random& random, std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); }

std::string Escape(const std::string& value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? "\\n" : std::string(1, c);
  }
  return text;
}

std::string RandomValue(Random& random) {
  static const std::vector<std::string> kParts = {
      "a", "Z", "}", "{", ",", "=", "\"", "\\", "\n", " ", "#", "\xc3\xa9", "\xf0\x9f\x98\x80", "0"};
  std::string value;
  for (std::size_t i = Below(random, 8); i > 0; --i) value += kParts[Below(random, kParts.size())];
  return value;
}

TEST(ExpositionParser, ReadsRandomSeriesInRandomChunksAsTheModelSays) {
  Random random(TestSeed());
  struct Want {
    std::string series;
    Timestamp timestamp;
    double value;
  };
  std::vector<std::pair<std::string, std::string>> pool;  // text, canonical form
  for (int i = 0; i < 200; ++i) {
    const std::string metric = "m" + std::to_string(i % 7);
    std::string text = metric + "{";
    std::vector<std::pair<std::string, std::string>> pairs = {{"__name__", metric}, {"id", std::to_string(i)}};
    text += "id=\"" + std::to_string(i) + "\"";
    for (std::size_t n = Below(random, 4); n > 0; --n) {
      const std::string value = RandomValue(random);
      text += ",l" + std::to_string(n) + "=\"" + Escape(value) + "\"";
      if (!value.empty()) pairs.emplace_back("l" + std::to_string(n), value);
    }
    pool.emplace_back(text + "}", Labels(pairs).ToString());
  }
  std::string text;
  std::vector<Want> want;
  for (int i = 0; i < 20'000; ++i) {
    const auto& [series, canonical] =
        pool[Below(random, 10) < 8 ? static_cast<std::size_t>(i) % pool.size() : Below(random, pool.size())];
    const auto t = static_cast<Timestamp>(Below(random, 2'000'000'000'000));
    const double value = static_cast<double>(Below(random, 1'000'000)) / 64;
    text += series + " " + std::to_string(value) + " " + std::to_string(t) + "\n";
    want.push_back({canonical, t, std::stod(std::to_string(value))});
  }
  RecordingSink sink;
  ParserOptions options;
  options.format = TextFormat::kPrometheus;
  options.series_cache_bytes = 20'000;  // forgets now and then
  ExpositionParser parser(options, &sink);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t n = 1 + Below(random, Below(random, 20) == 0 ? 100'000 : 300);
    ASSERT_TRUE(parser.Feed(std::string_view(text).substr(at, n)).ok());
    at += n;
  }
  ASSERT_TRUE(parser.Finish().ok());
  EXPECT_TRUE(sink.refused.empty()) << sink.refused[0].first << ": " << sink.refused[0].second;
  ASSERT_EQ(sink.samples.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(sink.samples[i].series, want[i].series) << "line " << i + 1;
    ASSERT_EQ(sink.samples[i].timestamp, want[i].timestamp) << "line " << i + 1;
    ASSERT_EQ(sink.samples[i].value, want[i].value) << "line " << i + 1;
  }
}

TEST(ExpositionParser, SurvivesRandomDamageAndCountsEveryLine) {
  Random random(TestSeed());
  const std::string good = "# TYPE a counter\na_total{x=\"y\",z=\"\\\\\"} 1.5 1700000000.5 # {t=\"u\"} 1 2\nb 2 3\n# EOF\n";
  for (int round = 0; round < 20'000; ++round) {
    std::string text = good;
    for (std::size_t n = 1 + Below(random, 6); n > 0; --n) {
      const std::size_t at = Below(random, text.size());
      if (Below(random, 3) == 0) {
        text.erase(at, 1 + Below(random, 4));
      } else {
        text[at] = static_cast<char>(Below(random, 2) == 0 ? Below(random, 256)
                                                           : static_cast<std::size_t>("\"\\{}=,#\n \r"[Below(random, 10)]));
      }
      if (text.empty()) text = good;
    }
    RecordingSink sink;
    ExpositionParser parser({}, &sink);
    const std::size_t cut = Below(random, text.size() + 1);
    ASSERT_TRUE(parser.Feed(text.substr(0, cut)).ok());
    ASSERT_TRUE(parser.Feed(text.substr(cut)).ok());
    ASSERT_TRUE(parser.Finish().ok());
    ASSERT_LE(sink.samples.size() + sink.refused.size(), 2 * parser.stats().lines) << text;
    ASSERT_EQ(sink.samples.size(), parser.stats().samples);
    ASSERT_EQ(sink.refused.size(), parser.stats().refused);
  }
}

}  // namespace
}  // namespace chronolith::interop

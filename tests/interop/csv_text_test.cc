#include "interop/csv_text.h"

#include <gmock/gmock.h>

#include <cmath>

namespace chronolith::interop {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Records as "line:field|field", or "line!reason"; fed in pieces of `step` bytes.
std::vector<std::string> Records(const std::string& text, std::size_t step, char delimiter = ',') {
  std::vector<std::string> records;
  CsvReader reader(
      [&](std::uint64_t line, const Status& status, const std::vector<std::string>& fields) {
        std::string record = std::to_string(line) + (status.ok() ? ":" : "!" + std::string(status.message()));
        for (std::size_t i = 0; i < fields.size(); ++i) record += (i > 0 ? "|" : "") + fields[i];
        records.push_back(record);
      },
      delimiter);
  for (std::size_t i = 0; i < text.size(); i += step) reader.Feed(std::string_view(text).substr(i, step));
  reader.Finish();
  return records;
}

TEST(CsvReader, CutsRecordsWhereverTheBytesAreCut) {
  const std::string text = "a,b\r\n\n\"x,\"\"y\"\"\nz\",2\n,\n\"\",last";
  for (const std::size_t step : {1, 2, 3, 1000}) {
    EXPECT_THAT(Records(text, step), ElementsAre("1:a|b", "3:x,\"y\"\nz|2", "5:|", "6:|last")) << step;
  }
  EXPECT_THAT(Records("a;b\n", 1, ';'), ElementsAre("1:a|b"));
  EXPECT_THAT(Records("", 1), ElementsAre());
}

TEST(CsvReader, RefusesMalformedRecordsAndGoesOn) {
  EXPECT_THAT(Records("a\"b,c\nd\n", 1), ElementsAre(HasSubstr("1!a quote within a field"), "2:d"));
  EXPECT_THAT(Records("\"a\"b,c\nd\n\"\ne\n", 1),
              ElementsAre(HasSubstr("1!text behind the closing quote"), "2:d", HasSubstr("3!the quoted field is never closed")));
  EXPECT_THAT(Records("a\n\"b\n", 1), ElementsAre("1:a", HasSubstr("2!the quoted field is never closed")));
  const std::string open = "\"" + std::string(2 << 20, 'x') + "\nd\n";
  EXPECT_THAT(Records(open, 4096), ElementsAre(HasSubstr("1!the record is longer"), "2:d"));
}

TEST(CsvMapper, ReadsASeriesColumnOrLabelColumns) {
  std::vector<std::pair<Labels, Sample>> samples;
  CsvMapper own({});
  ASSERT_TRUE(own.SetHeader({"value", "series", "timestamp"}).ok());
  ASSERT_TRUE(own.Map({"StaleNaN", "up{job=\"a\"}", "-5"}, &samples).ok());
  CsvColumns columns;
  columns.time = "at";
  columns.values = {"temp", "humidity"};
  CsvMapper labelled(columns);
  ASSERT_TRUE(labelled.SetHeader({"room", "at", "temp", "humidity"}).ok());
  ASSERT_TRUE(labelled.Map({"hall", "2026-01-01T00:00:00Z", "21.5", ""}, &samples).ok());
  ASSERT_TRUE(labelled.Map({"", "1767225600001", "1", "2"}, &samples).ok());
  columns.metric = "climate";
  columns.values = {"temp"};
  columns.unit = CsvColumns::Unit::kNanoseconds;
  CsvMapper named(columns);
  ASSERT_TRUE(named.SetHeader({"room", "at", "temp"}).ok());
  ASSERT_TRUE(named.Map({"attic", "-1000001", "3"}, &samples).ok());
  std::vector<std::string> shown;
  for (const auto& [labels, sample] : samples) shown.push_back(labels.ToString() + "@" + std::to_string(sample.timestamp));
  EXPECT_THAT(shown, ElementsAre("up{job=\"a\"}@-5", "temp{room=\"hall\"}@1767225600000", "temp@1767225600001",
                                 "humidity@1767225600001", "climate{room=\"attic\"}@-2"));
  EXPECT_TRUE(std::isnan(samples[0].second.value));
}

TEST(CsvMapper, SaysWhatIsWrongAndAppendsNothing) {
  CsvColumns two;
  two.values = {"a", "b"};
  EXPECT_THAT(CsvMapper({}).SetHeader({"series", "value"}).message(), HasSubstr("no column \"timestamp\""));
  EXPECT_THAT(CsvMapper({}).SetHeader({"series", "timestamp"}).message(), HasSubstr("no column \"value\""));
  EXPECT_THAT(CsvMapper({}).SetHeader({"value", "timestamp", "value"}).message(), HasSubstr("twice"));
  CsvMapper mapper(two);
  ASSERT_TRUE(mapper.SetHeader({"series", "timestamp", "a", "b"}).ok());
  const struct {
    std::vector<std::string> fields;
    const char* says;
  } rows[] = {
      {{"up", "1", "1"}, "3 fields, but the header has 4"},
      {{"up", "x", "1", "1"}, "column \"timestamp\""},
      {{"up", "1.5", "1", "1"}, "time \"1.5\" is not a number"},
      {{"up", "99999999999999999999", "1", "1"}, "column \"timestamp\""},
      {{"up{", "1", "1", "1"}, "column \"series\""},
      {{"up", "1", "1", "one"}, "column \"b\": value \"one\" is not a number"},
  };
  std::vector<std::pair<Labels, Sample>> samples;
  for (const auto& row : rows) {
    const Status s = mapper.Map(row.fields, &samples);
    EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(s.message(), HasSubstr(row.says));
  }
  EXPECT_TRUE(samples.empty());
}

}  // namespace
}  // namespace chronolith::interop

// Comma-separated values with a header line (RFC 4180) as samples.
#ifndef CHRONOLITH_INTEROP_CSV_TEXT_H_
#define CHRONOLITH_INTEROP_CSV_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/types.h"

namespace chronolith::interop {

// `text` as one field, quoted where needed.
void AppendCsvField(std::string_view text, std::string* csv);

// Cuts bytes into records of fields. A field in quotes may hold commas, line breaks and "" for a quote. Blank lines are left out.
// Thread safety: one thread at a time.
class CsvReader {
 public:
  static constexpr std::size_t kRecordBytesMax = 1 << 20;
  // `line`: where the record begins, counted from 1. Not ok: a record that is malformed or too long, which has no fields. The
  // fields are valid during the call.
  using OnRecord = std::function<void(std::uint64_t line, const Status& status, const std::vector<std::string>& fields)>;

  explicit CsvReader(OnRecord on_record, char delimiter = ',') : on_record_(std::move(on_record)), delimiter_(delimiter) {}
  void Feed(std::string_view bytes);
  void Finish();   // the last record may lack its line break
  void Abandon();  // the end of an input that was cut off: a record that has begun is not taken

 private:
  enum class State : std::uint8_t { kFieldStart, kPlain, kQuoted, kQuoteInQuoted };
  void Byte(char c);
  void Refuse(const char* reason);
  void EndField();
  void EndRecord();

  const OnRecord on_record_;
  const char delimiter_;
  State state_ = State::kFieldStart;
  std::string field_;
  std::vector<std::string> fields_;
  std::size_t bytes_ = 0;
  std::uint64_t line_ = 1;
  std::uint64_t begin_ = 1;
  Status status_;
};

// What the columns mean. Without a series column every column that is neither time nor value is a label of its name.
struct CsvColumns {
  std::string series = "series";  // a selector-like name: metric{label="value"}
  std::string time = "timestamp";
  std::vector<std::string> values = {"value"};
  std::string metric;  // the metric's name; "": of the column __name__, or of the value column
  enum class Unit : std::uint8_t { kSeconds, kMilliseconds, kMicroseconds, kNanoseconds };
  Unit unit = Unit::kMilliseconds;  // of times that are plain numbers; others are RFC 3339
};

// Thread safety: one thread at a time.
class CsvMapper {
 public:
  explicit CsvMapper(CsvColumns columns) : columns_(std::move(columns)) {}

  // The names of the columns. kInvalidArgument: the time column or a value column is missing, a name is there twice.
  Status SetHeader(const std::vector<std::string>& names);
  // The samples of a record, appended: one for each value column that is not empty. kInvalidArgument names the column at fault;
  // nothing is appended then.
  Status Map(const std::vector<std::string>& fields, std::vector<std::pair<Labels, Sample>>* samples) const;

 private:
  Result<Timestamp> ParseTimeField(const std::string& text) const;

  const CsvColumns columns_;
  std::vector<std::string> names_;
  static constexpr std::size_t kNone = ~std::size_t{0};
  std::size_t time_ = kNone, series_ = kNone;
  std::vector<std::size_t> values_;
  std::vector<std::size_t> labels_;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_CSV_TEXT_H_

// Data on stdout: buffered text, JSON, CSV, aligned tables.
#ifndef CHRONOLITH_TOOLS_CLI_OUTPUT_H_
#define CHRONOLITH_TOOLS_CLI_OUTPUT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/status.h"

namespace chronolith::cli {

// Collects text and writes it to stdout in large pieces. Not thread-safe.
class Output {
 public:
  Output& operator<<(std::string_view text) {
    buffer_.append(text);
    if (buffer_.size() >= kFlushBytes) Write();
    return *this;
  }
  // Where stdout took not everything (a full disk) an error that says why: a command must then fail.
  Status Finish();
  // Once it is not ok nothing is taken any more: no use in going on.
  const Status& status() const { return status_; }

  // Escape codes are wanted: stdout is a terminal and NO_COLOR is not set.
  static bool Colored();

 private:
  static constexpr std::size_t kFlushBytes = 64 << 10;
  void Write();
  std::string buffer_;
  Status status_;
};

// Why stdout takes no more, by the errno of the write.
Status StdoutError(int error);

// Builds one JSON document, with commas where they belong. Numbers that JSON cannot express (NaN, infinities) are strings.
class JsonWriter {
 public:
  explicit JsonWriter(Output* out) : out_(out) {}
  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Shut('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Shut(']'); }
  JsonWriter& Key(std::string_view name);
  JsonWriter& String(std::string_view text);
  JsonWriter& Integer(std::int64_t n);
  JsonWriter& Unsigned(std::uint64_t n);
  JsonWriter& Double(double v);
  JsonWriter& Bool(bool b);
  JsonWriter& LabelSet(const Labels& labels);  // as an object
  void Newline() { *out_ << "\n"; }

 private:
  JsonWriter& Open(char c);
  JsonWriter& Shut(char c);
  JsonWriter& Raw(std::string_view text);
  void Separate();

  Output* out_;
  bool comma_ = false;  // a value stands before, in the same object or array
};

// RFC 4180, quoted where needed.
std::string CsvField(std::string_view text);

// Rows of text with aligned columns; numbers to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // As an aligned table, or as CSV.
  void Print(Output* out) const;
  void PrintCsv(Output* out) const;
  void Print(bool csv, Output* out) const { csv ? PrintCsv(out) : Print(out); }

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

std::string HumanBytes(std::uint64_t bytes);     // 1.5 MiB
std::string HumanSeconds(double seconds);        // 1.5 ms
std::string HumanCount(double n);                // 1.50 M
std::string FixedPoint(double v, int decimals);  // 1.50

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_OUTPUT_H_

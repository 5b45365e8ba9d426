#include "tools/cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "interop/label_json.h"
#include "interop/value_text.h"

namespace chronolith::cli {

Status StdoutError(int error) { return IoError("cannot write to stdout: " + std::generic_category().message(error)); }

void Output::Write() {
  if (status_.ok() && std::fwrite(buffer_.data(), 1, buffer_.size(), stdout) != buffer_.size()) status_ = StdoutError(errno);
  buffer_.clear();
}

Status Output::Finish() {
  Write();
  if (status_.ok() && std::fflush(stdout) != 0) status_ = StdoutError(errno);
  return status_;
}

bool Output::Colored() {
  const char* no_color = std::getenv("NO_COLOR");
  return (no_color == nullptr || *no_color == '\0') && isatty(STDOUT_FILENO) == 1;
}

JsonWriter& JsonWriter::Open(char c) {
  Separate();
  *out_ << std::string_view(&c, 1);
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::Shut(char c) {
  *out_ << std::string_view(&c, 1);
  comma_ = true;
  return *this;
}

void JsonWriter::Separate() {
  if (comma_) *out_ << ",";
}

JsonWriter& JsonWriter::Raw(std::string_view text) {
  Separate();
  *out_ << text;
  comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view name) {
  Separate();
  std::string quoted;
  interop::AppendJsonString(name, &quoted);
  *out_ << quoted << ":";
  comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::String(std::string_view text) {
  std::string quoted;
  interop::AppendJsonString(text, &quoted);
  return Raw(quoted);
}

JsonWriter& JsonWriter::Integer(std::int64_t n) { return Raw(std::to_string(n)); }
JsonWriter& JsonWriter::Unsigned(std::uint64_t n) { return Raw(std::to_string(n)); }
JsonWriter& JsonWriter::Bool(bool b) { return Raw(b ? "true" : "false"); }

JsonWriter& JsonWriter::Double(double v) {
  return std::isfinite(v) ? Raw(interop::FormatValue(v)) : String(interop::FormatValue(v));
}

JsonWriter& JsonWriter::LabelSet(const Labels& labels) {
  BeginObject();
  for (const Label& label : labels) Key(label.name).String(label.value);
  return EndObject();
}

std::string CsvField(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted.push_back('"');
    quoted.push_back(c);
  }
  return quoted.append("\"");
}

void Table::PrintCsv(Output* out) const {
  const auto print = [out](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) *out << (i > 0 ? "," : "") << CsvField(row[i]);
    *out << "\n";
  };
  print(header_);
  for (const auto& row : rows_) print(row);
}

void Table::Print(Output* out) const {
  std::vector<std::size_t> widths;
  for (const std::string& name : header_) widths.push_back(name.size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto print = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      const std::string& cell = row[i];
      const std::string pad(widths[i] - cell.size(), ' ');
      const bool right = i > 0 && (cell.empty() || (cell[0] >= '0' && cell[0] <= '9') || &row == &header_);
      *out << (i > 0 ? "  " : "");
      if (right) {
        *out << pad << cell;
      } else {
        *out << cell << (i + 1 < row.size() ? std::string_view(pad) : std::string_view());
      }
    }
  };
  const bool bold = Output::Colored();
  if (bold) *out << "\033[1m";
  print(header_);
  *out << (bold ? "\033[0m\n" : "\n");
  for (const auto& row : rows_) {
    print(row);
    *out << "\n";
  }
}

std::string FixedPoint(double v, int decimals) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", decimals, v);
  return text;
}

std::string HumanBytes(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto v = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (v >= 1024 && unit + 1 < std::size(kUnits)) {
    v /= 1024;
    ++unit;
  }
  return FixedPoint(v, unit == 0 ? 0 : 1) + " " + kUnits[unit];
}

std::string HumanSeconds(double seconds) {
  if (seconds == 0) return "0";
  if (seconds < 1e-3) return FixedPoint(seconds * 1e6, 1) + " us";
  if (seconds < 1) return FixedPoint(seconds * 1e3, 1) + " ms";
  return FixedPoint(seconds, 2) + " s";
}

std::string HumanCount(double n) {
  if (n < 10'000) return FixedPoint(n, 0);
  if (n < 1e6) return FixedPoint(n / 1e3, 1) + " k";
  return FixedPoint(n / 1e6, 2) + " M";
}

}  // namespace chronolith::cli

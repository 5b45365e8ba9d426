#include "interop/csv_text.h"

#include <algorithm>

#include "interop/label_text.h"
#include "interop/text_scan.h"
#include "interop/time_text.h"

namespace chronolith::interop {

void AppendCsvField(std::string_view text, std::string* csv) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    csv->append(text);
    return;
  }
  csv->push_back('"');
  for (const char c : text) {
    if (c == '"') csv->push_back('"');
    csv->push_back(c);
  }
  csv->push_back('"');
}

void CsvReader::Feed(std::string_view bytes) {
  for (const char c : bytes) Byte(c);
}

void CsvReader::Byte(char c) {
  if (++bytes_ == kRecordBytesMax) Refuse("the record is longer than 1 MiB");
  if (c == '\n') ++line_;
  switch (state_) {
    case State::kFieldStart:
      if (c == '"') {
        state_ = State::kQuoted;
        return;
      }
      state_ = State::kPlain;
      [[fallthrough]];
    case State::kPlain:
      if (c == '\n') return EndRecord();
      if (c == delimiter_) return EndField();
      if (c == '"') Refuse("a quote within a field that does not begin with one");
      break;
    case State::kQuoted:
      if (c == '"') {
        state_ = State::kQuoteInQuoted;
        return;
      }
      break;
    case State::kQuoteInQuoted:
      if (c == '\n') return EndRecord();
      if (c == delimiter_) return EndField();
      if (c == '\r') return;
      state_ = c == '"' ? State::kQuoted : State::kPlain;
      if (c != '"') Refuse("text behind the closing quote of a field");
      break;
  }
  if (status_.ok()) field_.push_back(c);
}

void CsvReader::Refuse(const char* reason) {
  if (status_.ok()) status_ = InvalidArgument(reason);
  // A quoted field that is never closed would take all the rest of the input.
  if (bytes_ >= kRecordBytesMax) state_ = State::kPlain;
}

void CsvReader::EndField() {
  fields_.push_back(std::move(field_));
  field_.clear();
  state_ = State::kFieldStart;
}

void CsvReader::EndRecord() {
  if (state_ == State::kPlain && !field_.empty() && field_.back() == '\r') field_.pop_back();
  const bool blank = fields_.empty() && field_.empty() && state_ == State::kPlain && status_.ok();
  EndField();
  if (!status_.ok()) fields_.clear();
  if (!blank) on_record_(begin_, status_, fields_);
  fields_.clear();
  status_ = Status::Ok();
  bytes_ = 0;
  begin_ = line_;
}

void CsvReader::Finish() {
  if (state_ == State::kQuoted) Refuse("the quoted field is never closed");
  if (bytes_ > 0) EndRecord();
  Abandon();
}

void CsvReader::Abandon() {
  state_ = State::kFieldStart;
  field_.clear();
  fields_.clear();
  status_ = Status::Ok();
  bytes_ = 0;
  line_ = begin_ = 1;
}

Status CsvMapper::SetHeader(const std::vector<std::string>& names) {
  names_ = names;
  time_ = series_ = kNone;
  labels_.clear();
  values_.assign(columns_.values.size(), kNone);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) !=
        names.begin() + static_cast<std::ptrdiff_t>(i)) {
      return InvalidArgument("the header has column " + Quoted(names[i]) + " twice");
    }
    const auto value = std::find(columns_.values.begin(), columns_.values.end(), names[i]);
    if (names[i] == columns_.time) {
      time_ = i;
    } else if (value != columns_.values.end()) {
      values_[static_cast<std::size_t>(value - columns_.values.begin())] = i;
    } else if (names[i] == columns_.series) {
      series_ = i;
    } else {
      labels_.push_back(i);
    }
  }
  if (time_ == kNone) return InvalidArgument("the header has no column " + Quoted(columns_.time) + " for the time");
  for (std::size_t v = 0; v < values_.size(); ++v) {
    if (values_[v] == kNone) return InvalidArgument("the header has no column " + Quoted(columns_.values[v]) + " for the value");
  }
  return Status::Ok();
}

Result<Timestamp> CsvMapper::ParseTimeField(const std::string& text) const {
  using Unit = CsvColumns::Unit;
  Timestamp t = 0;
  if (columns_.unit == Unit::kSeconds && ParseSeconds(text, &t)) return t;
  if (columns_.unit != Unit::kSeconds && ParseMillis(text, &t)) {
    const std::int64_t divisor = columns_.unit == Unit::kNanoseconds ? 1'000'000 : columns_.unit == Unit::kMicroseconds ? 1000 : 1;
    return t / divisor - (t % divisor < 0 ? 1 : 0);
  }
  // Only what cannot be a number: a wrong unit must not be guessed away.
  if (text.find_first_of(":-", 1) == std::string::npos) return InvalidArgument("time " + Quoted(text) + " is not a number");
  return ParseTime(text, 0);
}

Status CsvMapper::Map(const std::vector<std::string>& fields, std::vector<std::pair<Labels, Sample>>* samples) const {
  if (fields.size() != names_.size()) {
    return InvalidArgument(std::to_string(fields.size()) + " fields, but the header has " + std::to_string(names_.size()));
  }
  const auto t = ParseTimeField(fields[time_]);
  if (!t.ok()) return t.status().WithContext("column " + Quoted(columns_.time));
  const std::size_t before = samples->size();
  SeriesText series;
  if (series_ != kNone) {
    if (Status s = series.Parse(fields[series_]); !s.ok()) return s.WithContext("column " + Quoted(columns_.series));
  }
  for (std::size_t v = 0; v < values_.size(); ++v) {
    const std::string& text = fields[values_[v]];
    if (text.empty()) continue;
    Sample sample{*t, 0};
    if (!ParseValue(text, &sample.value)) {
      samples->resize(before);
      return InvalidArgument("column " + Quoted(columns_.values[v]) + ": value " + Quoted(text) + " is not a number");
    }
    if (series_ != kNone) {
      samples->emplace_back(series.labels(), sample);
      continue;
    }
    std::vector<std::pair<std::string, std::string>> labels;
    bool named = false;
    for (const std::size_t i : labels_) {
      if (fields[i].empty()) continue;
      named = named || names_[i] == kMetricName;
      labels.emplace_back(names_[i], fields[i]);
    }
    if (!named) labels.emplace_back(kMetricName, columns_.metric.empty() ? columns_.values[v] : columns_.metric);
    samples->emplace_back(Labels(std::move(labels)), sample);
  }
  return Status::Ok();
}

}  // namespace chronolith::interop

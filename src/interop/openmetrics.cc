#include "interop/openmetrics.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <utility>

#include "base/hash.h"
#include "interop/family_metadata.h"
#include "interop/label_text.h"
#include "interop/text_scan.h"

namespace chronolith::interop {

namespace {

constexpr std::size_t kDetectBytes = 256 << 10;       // of an input that are looked at before its format is decided
constexpr std::size_t kExemplarCharactersMax = 128;   // OpenMetrics 1.0, "Exemplars"
constexpr Timestamp kSecondsBelow = 100'000'000'000;  // see DetectTextFormat

struct SeriesTextHash {
  std::size_t operator()(std::string_view text) const { return StableHash(text); }
};

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

void SkipBlanks(std::string_view* text) {
  std::size_t n = 0;
  while (n < text->size() && IsBlank((*text)[n])) ++n;
  text->remove_prefix(n);
}

// Takes the next run of bytes that are not blank.
std::string_view TakeToken(std::string_view* text) {
  SkipBlanks(text);
  std::size_t n = 0;
  while (n < text->size() && !IsBlank((*text)[n])) ++n;
  const std::string_view token = text->substr(0, n);
  text->remove_prefix(n);
  return token;
}

}  // namespace

ExpositionSink::~ExpositionSink() = default;

class ExpositionParser::Impl {
 public:
  Impl(const ParserOptions& options, ExpositionSink* sink) : options_(options), sink_(sink), format_(options.format) {}

  void SetFormat(TextFormat format) { options_.format = format_ = format; }
  Status Feed(std::string_view bytes);
  Status Finish();
  void Abandon();

  const ParserStats& stats() const { return stats_; }
  TextFormat format() const { return format_; }
  bool eof_seen() const { return eof_seen_; }

 private:
  // A series that was read before, by the bytes of its text.
  struct KnownSeries {
    std::string text;
    std::uint64_t handle = 0;
    std::uint64_t told = 0;       // fingerprint of the metadata that the sink knows; 0: none
    KnownSeries* next = nullptr;  // the series that stood behind this one when it was last read: scrapes repeat their order
  };

  void Lines(std::string_view bytes);
  void Line(std::string_view line);
  void Comment(std::string_view line);
  Status SampleLine(std::string_view line);
  KnownSeries* FindSeries(std::string_view line, std::string_view* text);
  Result<KnownSeries*> Announce(std::string_view text);
  void TellMetadata(KnownSeries* series);
  Status ParseTimestamp(std::string_view token, Timestamp* t) const;
  void ExemplarText(std::string_view text, const KnownSeries& series, Timestamp sample_time);
  void Refuse(const Status& reason);
  void Forget();

  ParserOptions options_;
  ExpositionSink* sink_;
  TextFormat format_;
  ParserStats stats_;

  std::string carry_;      // the start of a line that the last Feed cut off; also what waits for the format to be decided
  bool skipping_ = false;  // inside a line that is too long
  bool eof_seen_ = false;
  bool finished_ = false;
  std::uint64_t line_ = 0;
  Status stopped_;  // strict mode met a refused line

  std::deque<KnownSeries> series_;  // stable addresses
  absl::flat_hash_map<std::string_view, KnownSeries*, SeriesTextHash, std::equal_to<>> by_text_;
  std::size_t series_bytes_ = 0;
  KnownSeries* last_ = nullptr;  // of the line before
  FamilyMetadata families_;
  SeriesText scratch_;
};

Status ExpositionParser::Impl::Feed(std::string_view bytes) {
  if (!stopped_.ok()) return stopped_;
  if (finished_) {  // a new input: format() and eof_seen() told of the last one until now
    finished_ = eof_seen_ = false;
    format_ = options_.format;
  }
  if (format_ == TextFormat::kAuto) {
    const std::size_t take = std::min(bytes.size(), kDetectBytes - std::min(kDetectBytes, carry_.size()));
    carry_.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (carry_.size() < kDetectBytes) return Status::Ok();
    format_ = DetectTextFormat(carry_, false);
    std::string held;
    held.swap(carry_);
    Lines(held);
  }
  Lines(bytes);
  return stopped_;
}

Status ExpositionParser::Impl::Finish() {
  if (finished_) eof_seen_ = false;  // an empty input
  if (format_ == TextFormat::kAuto && stopped_.ok()) {
    format_ = DetectTextFormat(carry_, true);
    std::string held;
    held.swap(carry_);
    Lines(held);
  }
  if (!carry_.empty() && !skipping_ && stopped_.ok()) Line(carry_);
  Status result = std::exchange(stopped_, Status::Ok());
  Abandon();
  return result;
}

void ExpositionParser::Impl::Abandon() {
  stopped_ = Status::Ok();
  carry_.clear();
  skipping_ = false;
  line_ = 0;
  finished_ = true;
}

void ExpositionParser::Impl::Lines(std::string_view bytes) {
  while (!bytes.empty() && stopped_.ok()) {
    const auto* end = static_cast<const char*>(std::memchr(bytes.data(), '\n', bytes.size()));
    const std::size_t n = end == nullptr ? bytes.size() : static_cast<std::size_t>(end - bytes.data());
    const std::string_view piece = bytes.substr(0, n);
    bytes.remove_prefix(end == nullptr ? n : n + 1);
    if (!skipping_ && carry_.size() + n > options_.max_line_bytes) {
      ++line_;
      ++stats_.lines;
      Refuse(InvalidArgument("line is longer than " + std::to_string(options_.max_line_bytes) + " bytes"));
      skipping_ = true;
      carry_ = std::string();
    }
    if (skipping_) {
      skipping_ = end == nullptr;
    } else if (end == nullptr) {
      carry_.append(piece);
    } else if (carry_.empty()) {
      Line(piece);
    } else {
      carry_.append(piece);
      Line(carry_);
      carry_.clear();
    }
  }
}

void ExpositionParser::Impl::Line(std::string_view line) {
  ++line_;
  ++stats_.lines;
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (!line.empty() && IsBlank(line[0])) SkipBlanks(&line);
  if (line.empty()) return;
  eof_seen_ = false;
  if (line[0] == '#') return Comment(line);
  if (Status s = SampleLine(line); !s.ok()) Refuse(s);
}

void ExpositionParser::Impl::Comment(std::string_view line) {
  line.remove_prefix(1);
  const std::string_view keyword = TakeToken(&line);
  if (keyword == "EOF") {
    SkipBlanks(&line);
    if (line.empty()) {
      eof_seen_ = true;
      if (format_ == TextFormat::kPrometheus && options_.format == TextFormat::kAuto) {
        Refuse(InvalidArgument("\"# EOF\" ends an OpenMetrics text, but timestamps were read as milliseconds: name the format"));
      }
    }
    return;
  }
  if (Status s = families_.Read(keyword, line); !s.ok()) Refuse(s);
}

ExpositionParser::Impl::KnownSeries* ExpositionParser::Impl::FindSeries(std::string_view line, std::string_view* text) {
  // Whoever stood behind the last series the last time probably stands here. A bare name must not be a prefix of something longer.
  if (last_ != nullptr && last_->next != nullptr) {
    KnownSeries* guess = last_->next;
    const std::size_t n = guess->text.size();
    if (line.size() > n + 1 && line[n] == ' ' && line[n + 1] != '{' && !IsBlank(line[n + 1]) &&
        std::memcmp(line.data(), guess->text.data(), n) == 0) {
      *text = guess->text;
      return guess;
    }
  }
  *text = line.substr(0, SeriesTextLength(line));
  const auto it = by_text_.find(*text);
  return it == by_text_.end() ? nullptr : it->second;
}

// The labels stand in scratch_.
Result<ExpositionParser::Impl::KnownSeries*> ExpositionParser::Impl::Announce(std::string_view text) {
  if (series_bytes_ > options_.series_cache_bytes) Forget();
  auto handle = sink_->OnSeries(scratch_.labels());
  if (!handle.ok()) return handle.status();
  series_.push_back({std::string(text), *handle, 0, nullptr});
  KnownSeries* added = &series_.back();
  by_text_.emplace(added->text, added);
  series_bytes_ += text.size() + sizeof(KnownSeries) + 32;  // 32: the hash table's share
  TellMetadata(added);
  return added;
}

Status ExpositionParser::Impl::SampleLine(std::string_view line) {
  std::string_view text;
  KnownSeries* series = FindSeries(line, &text);
  if (text.empty()) return InvalidArgument("expected a metric name, got " + Quoted(line));
  if (series == nullptr) {
    if (Status s = scratch_.Parse(text); !s.ok()) return s;
  }
  line.remove_prefix(text.size());
  const std::string_view value = TakeToken(&line);
  Sample sample;
  if (value.empty()) return InvalidArgument("value is missing");
  if (!ParseValue(value, &sample.value)) return InvalidArgument("value " + Quoted(value) + " is not a number");

  SkipBlanks(&line);
  if (!line.empty() && line[0] != '#') {
    if (Status s = ParseTimestamp(TakeToken(&line), &sample.timestamp); !s.ok()) return s;
    SkipBlanks(&line);
  } else if (options_.default_timestamp) {
    sample.timestamp = *options_.default_timestamp;
  } else {
    return InvalidArgument("sample has no timestamp, and no default was given");
  }
  if (!line.empty() && (line[0] != '#' || format_ != TextFormat::kOpenMetrics)) {
    return InvalidArgument("unexpected " + Quoted(line) + " after the timestamp");
  }
  if (series == nullptr) {  // only now: a bad line must not leave a series behind
    const auto added = Announce(text);
    if (!added.ok()) return added.status();
    series = *added;
  } else if (families_.changed()) {
    TellMetadata(series);
  }
  if (last_ != nullptr) last_->next = series;
  last_ = series;
  if (Status s = sink_->OnSample(series->handle, line_, sample); !s.ok()) return s;
  ++stats_.samples;
  if (!line.empty()) ExemplarText(line.substr(1), *series, sample.timestamp);
  return Status::Ok();
}

void ExpositionParser::Impl::TellMetadata(KnownSeries* series) {
  std::string_view metric = series->text;
  metric = metric.substr(0, MetricNamePrefix(metric));
  if (metric.empty()) {  // {__name__="x"}
    if (!scratch_.Parse(series->text).ok()) return;
    metric = scratch_.metric_name();
  }
  const FamilyMetadata::Entry entry = families_.Find(metric);
  if (entry.fingerprint == 0 || entry.fingerprint == series->told) return;
  series->told = entry.fingerprint;
  if (Status s = sink_->OnMetadata(series->handle, line_, *entry.metadata); !s.ok()) Refuse(s);
}

Status ExpositionParser::Impl::ParseTimestamp(std::string_view token, Timestamp* t) const {
  if (format_ == TextFormat::kOpenMetrics) {
    if (!ParseSeconds(token, t)) return InvalidArgument("timestamp " + Quoted(token) + " is not a number of seconds");
  } else if (!ParseMillis(token, t)) {
    return InvalidArgument("timestamp " + Quoted(token) + " is not a whole number of milliseconds");
  }
  return Status::Ok();
}

// A bad exemplar is refused on its own: the sample before it stands.
void ExpositionParser::Impl::ExemplarText(std::string_view text, const KnownSeries& series, Timestamp sample_time) {
  SkipBlanks(&text);
  const std::size_t length = SeriesTextLength(text);
  if (Status s = scratch_.ParseBraces(text.substr(0, length)); !s.ok()) return Refuse(s.WithContext("exemplar"));
  if (scratch_.characters() > kExemplarCharactersMax) {
    return Refuse(
        InvalidArgument("exemplar has " + std::to_string(scratch_.characters()) + " characters of labels, more than 128"));
  }
  Exemplar exemplar;
  exemplar.labels = scratch_.labels();
  text.remove_prefix(length);
  const std::string_view value = TakeToken(&text);
  if (!ParseValue(value, &exemplar.value)) return Refuse(InvalidArgument("exemplar value " + Quoted(value) + " is not a number"));
  exemplar.timestamp = sample_time;
  if (const std::string_view token = TakeToken(&text); !token.empty()) {
    if (Status s = ParseTimestamp(token, &exemplar.timestamp); !s.ok()) return Refuse(s.WithContext("exemplar"));
  }
  SkipBlanks(&text);
  if (!text.empty()) return Refuse(InvalidArgument("unexpected " + Quoted(text) + " after the exemplar"));
  if (Status s = sink_->OnExemplar(series.handle, line_, std::move(exemplar)); !s.ok()) return Refuse(s);
  ++stats_.exemplars;
}

void ExpositionParser::Impl::Refuse(const Status& reason) {
  ++stats_.refused;
  sink_->OnRefused(line_, reason);
  if (options_.strict) stopped_ = reason.WithContext("line " + std::to_string(line_));
}

void ExpositionParser::Impl::Forget() {
  by_text_.clear();
  series_.clear();
  series_bytes_ = 0;
  last_ = nullptr;
  sink_->OnForgetSeries();
}

ExpositionParser::ExpositionParser(const ParserOptions& options, ExpositionSink* sink)
    : impl_(std::make_unique<Impl>(options, sink)) {}
ExpositionParser::~ExpositionParser() = default;

void ExpositionParser::SetFormat(TextFormat format) { impl_->SetFormat(format); }
Status ExpositionParser::Feed(std::string_view bytes) { return impl_->Feed(bytes); }
Status ExpositionParser::Finish() { return impl_->Finish(); }
void ExpositionParser::Abandon() { impl_->Abandon(); }
const ParserStats& ExpositionParser::stats() const { return impl_->stats(); }
TextFormat ExpositionParser::format() const { return impl_->format(); }
bool ExpositionParser::eof_seen() const { return impl_->eof_seen(); }

namespace {

// Of the complete line `line`: the format if it gives it away, else kAuto; `first_timestamp` takes a whole-number timestamp.
TextFormat FormatOfLine(std::string_view line, std::optional<Timestamp>* first_timestamp) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  SkipBlanks(&line);
  if (line.empty()) return TextFormat::kAuto;
  if (line[0] == '#') {
    line.remove_prefix(1);
    const std::string_view keyword = TakeToken(&line);
    if (keyword == "EOF" || keyword == "UNIT") return TextFormat::kOpenMetrics;
    if (keyword != "TYPE") return TextFormat::kAuto;
    TakeToken(&line);
    const std::string_view type = TakeToken(&line);
    if (type == "untyped") return TextFormat::kPrometheus;
    const bool own = type == "unknown" || type == "info" || type == "stateset" || type == "gaugehistogram";
    return own ? TextFormat::kOpenMetrics : TextFormat::kAuto;
  }
  line.remove_prefix(SeriesTextLength(line));
  TakeToken(&line);  // value
  SkipBlanks(&line);
  if (line.find('#') != std::string_view::npos) return TextFormat::kOpenMetrics;  // exemplar
  const std::string_view token = TakeToken(&line);
  Timestamp t = 0;
  if (ParseMillis(token, &t)) {
    if (!*first_timestamp) *first_timestamp = t;
    return TextFormat::kAuto;
  }
  return ParseSeconds(token, &t) ? TextFormat::kOpenMetrics : TextFormat::kAuto;
}

}  // namespace

TextFormat DetectTextFormat(std::string_view prefix, bool complete) {
  std::optional<Timestamp> first;
  while (!prefix.empty()) {
    const std::size_t end = prefix.find('\n');
    if (end == std::string_view::npos && !complete) break;  // may be cut off
    const TextFormat format = FormatOfLine(prefix.substr(0, end), &first);
    if (format != TextFormat::kAuto) return format;
    prefix.remove_prefix(end == std::string_view::npos ? prefix.size() : end + 1);
  }
  if (complete || !first) return TextFormat::kPrometheus;
  return *first<kSecondsBelow&& * first> - kSecondsBelow ? TextFormat::kOpenMetrics : TextFormat::kPrometheus;
}

}  // namespace chronolith::interop

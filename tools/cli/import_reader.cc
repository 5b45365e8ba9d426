#include "tools/cli/import_reader.h"

#include <cstdio>
#include <unordered_map>
#include <utility>
#include <vector>

#include "interop/json_lines.h"

namespace chronolith::cli {

namespace {

// The sink's numbers of series, remembered up to a bound on the text of their labels.
class SeriesHandles {
 public:
  SeriesHandles(std::size_t cache_bytes, ImportSink* sink) : cache_bytes_(cache_bytes), sink_(sink) {}

  Result<std::uint64_t> Of(const Labels& labels) {
    const auto known = handles_.find(std::string(labels.encoded()));
    if (known != handles_.end()) return known->second;
    if (bytes_ > cache_bytes_) {
      sink_->OnForgetSeries();
      handles_.clear();
      bytes_ = 0;
    }
    const auto handle = sink_->OnSeries(labels);
    if (!handle.ok()) return handle;
    handles_.emplace(labels.encoded(), *handle);
    bytes_ += labels.encoded().size() + 96;  // 96: the table's share
    return handle;
  }

 private:
  const std::size_t cache_bytes_;
  ImportSink* const sink_;
  std::unordered_map<std::string, std::uint64_t> handles_;
  std::size_t bytes_ = 0;
};

class ExpositionReader : public ImportReader {
 public:
  ExpositionReader(const interop::ParserOptions& options, ImportSink* sink) : format_(options.format), parser_(options, sink) {}

  void Begin(const TextInput& input) override {
    parser_.SetFormat(format_ != interop::TextFormat::kAuto ? format_ : input.format());
    bytes_ = 0;
  }
  Status Feed(std::string_view bytes) override {
    bytes_ += bytes.size();
    return parser_.Feed(bytes);
  }
  Status Finish(const std::string& name) override {
    const Status finished = parser_.Finish();
    if (finished.ok() && parser_.format() == interop::TextFormat::kOpenMetrics && !parser_.eof_seen() && bytes_ > 0) {
      std::fprintf(stderr, "%s: warning: OpenMetrics text without \"# EOF\": it may be cut off\n", name.c_str());
    }
    return finished;
  }
  void Abandon() override { parser_.Abandon(); }
  std::uint64_t lines() const override { return parser_.stats().lines; }

 private:
  const interop::TextFormat format_;
  interop::ExpositionParser parser_;
  std::uint64_t bytes_ = 0;
};

class JsonLinesReader : public ImportReader {
 public:
  JsonLinesReader(bool strict, std::size_t cache_bytes, ImportSink* sink)
      : strict_(strict), sink_(sink), handles_(cache_bytes, sink) {}

  void Begin(const TextInput&) override {
    line_ = 0;
    carry_.clear();
    too_long_ = false;
  }
  Status Feed(std::string_view bytes) override {
    while (!bytes.empty() && stopped_.ok()) {
      const std::size_t end = bytes.find('\n');
      const std::string_view piece = bytes.substr(0, end);
      if (carry_.size() + piece.size() > kLineBytesMax) {
        too_long_ = true;
        carry_.clear();
      }
      if (!too_long_) carry_.append(piece);
      if (end == std::string_view::npos) break;
      EndLine();
      bytes.remove_prefix(end + 1);
    }
    return stopped_;
  }
  Status Finish(const std::string&) override {
    if (stopped_.ok() && (!carry_.empty() || too_long_)) EndLine();
    return stopped_;
  }
  void Abandon() override {}  // Begin drops what was collected
  std::uint64_t lines() const override { return lines_; }

 private:
  static constexpr std::size_t kLineBytesMax = 32 << 20;  // VictoriaMetrics writes a series on one line

  void EndLine() {
    ++line_;
    ++lines_;
    Status s = too_long_ ? InvalidArgument("line is longer than 32 MiB") : Line(carry_);
    too_long_ = false;
    carry_.clear();
    if (s.ok()) return;
    sink_->OnRefused(line_, s);
    if (strict_) stopped_ = s.WithContext("line " + std::to_string(line_));
  }

  Status Line(std::string_view text) {
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) return Status::Ok();
    auto series = interop::ParseJsonSeries(text);
    if (!series.ok()) return series.status();
    const auto handle = handles_.Of(series->labels);
    if (!handle.ok()) return handle.status();
    for (const Metadata& metadata : series->metadata) {
      if (Status s = sink_->OnMetadata(*handle, line_, metadata); !s.ok()) return s;
    }
    for (const Sample sample : series->samples) {
      if (Status s = sink_->OnSample(*handle, line_, sample); !s.ok()) return s;
    }
    for (HistogramSample& histogram : series->histograms) {
      if (Status s = sink_->OnHistogram(*handle, line_, std::move(histogram)); !s.ok()) return s;
    }
    for (Exemplar& exemplar : series->exemplars) {
      if (Status s = sink_->OnExemplar(*handle, line_, std::move(exemplar)); !s.ok()) return s;
    }
    return Status::Ok();
  }

  const bool strict_;
  ImportSink* const sink_;
  SeriesHandles handles_;
  std::string carry_;
  bool too_long_ = false;
  std::uint64_t line_ = 0;
  std::uint64_t lines_ = 0;
  Status stopped_;
};

class CsvImportReader : public ImportReader {
 public:
  CsvImportReader(const interop::CsvColumns& columns, char delimiter, bool strict, std::size_t cache_bytes, ImportSink* sink)
      : strict_(strict),
        sink_(sink),
        handles_(cache_bytes, sink),
        mapper_(columns),
        reader_([this](std::uint64_t line, const Status& status,
                       const std::vector<std::string>& fields) { Record(line, status, fields); },
                delimiter) {}

  void Begin(const TextInput&) override {
    header_seen_ = false;
    header_status_ = Status::Ok();
  }
  Status Feed(std::string_view bytes) override {
    reader_.Feed(bytes);
    return header_status_.ok() ? stopped_ : header_status_;
  }
  Status Finish(const std::string&) override {
    reader_.Finish();
    return header_status_.ok() ? stopped_ : header_status_;
  }
  void Abandon() override { reader_.Abandon(); }
  std::uint64_t lines() const override { return records_; }

 private:
  void Record(std::uint64_t line, const Status& status, const std::vector<std::string>& fields) {
    if (!header_status_.ok() || !stopped_.ok()) return;
    ++records_;
    if (!header_seen_) {
      header_seen_ = true;
      header_status_ = (status.ok() ? mapper_.SetHeader(fields) : status).WithContext("line " + std::to_string(line));
      return;
    }
    const Status s = status.ok() ? Samples(line, fields) : status;
    if (s.ok()) return;
    sink_->OnRefused(line, s);
    if (strict_) stopped_ = s.WithContext("line " + std::to_string(line));
  }

  Status Samples(std::uint64_t line, const std::vector<std::string>& fields) {
    samples_.clear();
    if (Status s = mapper_.Map(fields, &samples_); !s.ok()) return s;
    for (const auto& [labels, sample] : samples_) {
      const auto handle = handles_.Of(labels);
      if (!handle.ok()) return handle.status();
      if (Status s = sink_->OnSample(*handle, line, sample); !s.ok()) return s;
    }
    return Status::Ok();
  }

  const bool strict_;
  ImportSink* const sink_;
  SeriesHandles handles_;
  interop::CsvMapper mapper_;
  interop::CsvReader reader_;
  std::vector<std::pair<Labels, Sample>> samples_;
  bool header_seen_ = false;
  std::uint64_t records_ = 0;
  Status header_status_;
  Status stopped_;
};

}  // namespace

ImportReader::~ImportReader() = default;

std::unique_ptr<ImportReader> NewExpositionReader(const interop::ParserOptions& options, ImportSink* sink) {
  return std::make_unique<ExpositionReader>(options, sink);
}
std::unique_ptr<ImportReader> NewJsonLinesReader(bool strict, std::size_t cache_bytes, ImportSink* sink) {
  return std::make_unique<JsonLinesReader>(strict, cache_bytes, sink);
}
std::unique_ptr<ImportReader> NewCsvReader(const interop::CsvColumns& columns, char delimiter, bool strict, std::size_t cache_bytes,
                                           ImportSink* sink) {
  return std::make_unique<CsvImportReader>(columns, delimiter, strict, cache_bytes, sink);
}

}  // namespace chronolith::cli

#include "ops/text_export.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>

#include "interop/csv_text.h"
#include "interop/json_lines.h"
#include "interop/openmetrics_writer.h"
#include "interop/value_text.h"
#include "ops/series_piece.h"

namespace chronolith::ops {

namespace {

constexpr std::size_t kPieceBytes = 1 << 20;
constexpr std::size_t kSeriesAtOnceMin = 64;

class TextExport {
 public:
  TextExport(const OpsContext& context, Storage* storage, const TextExportOptions& options,
             const std::function<Status(std::string_view)>& write, TextExportReport* report)
      : context_(context),
        storage_(storage),
        options_(options),
        write_(write),
        report_(report),
        openmetrics_(&text_),
        json_(&text_) {}

  Status Run() {
    LookupOptions lookup;
    lookup.deadline = options_.find_by;
    const auto ids = MatchingIds(storage_, options_.selectors, lookup, {context_.cancelled, options_.share});
    if (!ids.ok()) return ids.status();
    const std::vector<SeriesRef>& all = ids->values;
    std::size_t at_once = options_.series_at_once;
    context_.Begin("export", all.size(), "series");
    if (options_.form == TextForm::kCsv) text_ = "series,timestamp,value\n";
    for (std::size_t begin = 0; begin < all.size();) {
      const auto some = std::span(all).subspan(begin, std::min(at_once, all.size() - begin));
      auto piece =
          SeriesPiece::Open(storage_, some, {.range = options_.range, .cancelled = context_.cancelled, .share = options_.share});
      if (!piece.ok() && options_.share != nullptr && at_once > kSeriesAtOnceMin) {
        at_once /= 2;  // perhaps there is memory for fewer; else it fails again
        continue;
      }
      if (!piece.ok()) return piece.status();
      begin += some.size();
      while ((*piece)->Next()) {
        if ((*piece)->samples() == nullptr) continue;
        if (Status s = OneSeries(piece->get()); !s.ok()) return s;
      }
      if (!(*piece)->status().ok()) return (*piece)->status();
    }
    if (options_.form == TextForm::kOpenMetrics) openmetrics_.Finish();
    return Drain(0);
  }

 private:
  Status OneSeries(SeriesPiece* piece) {
    const Labels& labels = piece->labels();
    std::optional<Metadata> metadata;
    exemplars_.clear();
    next_exemplar_ = 0;
    if (options_.form != TextForm::kCsv) {
      auto known = piece->SeriesMetadata();
      if (!known.ok()) return known.status();
      metadata = std::move(*known);
      auto exemplars = piece->Exemplars();
      if (!exemplars.ok()) return exemplars.status();
      exemplars_ = std::move(*exemplars);
    }
    if (options_.form == TextForm::kJsonLines) json_.BeginSeries(labels, metadata);
    if (options_.form == TextForm::kOpenMetrics && !openmetrics_.BeginSeries(labels, metadata)) {
      ++report_->left_out.series;
      return Status::Ok();
    }
    if (options_.form == TextForm::kCsv) {
      csv_series_.clear();
      interop::AppendCsvField(labels.ToString(), &csv_series_);
      csv_series_.push_back(',');
    }
    if (Status s = Points(piece->samples()); !s.ok()) return s;
    if (options_.form == TextForm::kJsonLines) {
      for (const Exemplar& exemplar : exemplars_) json_.AddExemplar(exemplar);
      report_->exemplars += exemplars_.size();
      json_.EndSeries();
    } else {
      report_->left_out.exemplars += exemplars_.size() - next_exemplar_;
    }
    ++report_->series;
    context_.Add(1);
    return Drain(kPieceBytes);
  }

  Status Points(SampleIterator* samples) {
    std::array<Timestamp, 256> timestamps;
    std::array<double, 256> values;
    while (true) {
      const std::size_t n = samples->NextFloats(timestamps.data(), values.data(), values.size());
      for (std::size_t i = 0; i < n; ++i) FloatPoint({timestamps[i], values[i]});
      if (n == 0) {
        const ValueType type = samples->Next();
        if (type == ValueType::kNone) return samples->status();
        if (type == ValueType::kFloat) {
          FloatPoint({samples->timestamp(), samples->value()});
        } else if (options_.form == TextForm::kJsonLines) {
          json_.AddHistogram(samples->timestamp(), samples->histogram());
          ++report_->histograms;
        } else {
          ++report_->left_out.histograms;
        }
      }
      if (Status s = Drain(kPieceBytes); !s.ok()) return s;
    }
  }

  void FloatPoint(Sample sample) {
    if (options_.form == TextForm::kJsonLines) {
      json_.AddSample(sample);
    } else if (options_.form == TextForm::kCsv) {
      text_.append(csv_series_).append(std::to_string(sample.timestamp)).append(",");
      text_.append(interop::FormatValue(sample.value)).push_back('\n');
    } else {
      const bool has_exemplar = next_exemplar_ < exemplars_.size() && exemplars_[next_exemplar_].timestamp <= sample.timestamp;
      const Exemplar* exemplar = has_exemplar ? &exemplars_[next_exemplar_] : nullptr;
      if (!openmetrics_.AddSample(sample, exemplar)) {
        ++report_->left_out.stale_markers;
        return;
      }
      if (has_exemplar) {
        ++next_exemplar_;
        ++report_->exemplars;
      }
    }
    ++report_->samples;
  }

  // Hands over what is there if it is more than `least`.
  Status Drain(std::size_t least) {
    if (text_.empty() || text_.size() < least) return Status::Ok();
    Status s = write_(text_);
    if (s.ok()) report_->bytes += text_.size();
    text_.clear();
    return s;
  }

  const OpsContext& context_;
  Storage* const storage_;
  const TextExportOptions& options_;
  const std::function<Status(std::string_view)>& write_;
  TextExportReport* const report_;
  std::string text_;
  std::string csv_series_;
  interop::OpenMetricsWriter openmetrics_;
  interop::JsonLinesWriter json_;
  std::vector<Exemplar> exemplars_;
  std::size_t next_exemplar_ = 0;
};

}  // namespace

Status ExportText(const OpsContext& context, Storage* storage, const TextExportOptions& options,
                  const std::function<Status(std::string_view)>& write, TextExportReport* report) {
  return TextExport(context, storage, options, write, report).Run();
}

}  // namespace chronolith::ops

#include "tools/cli/import_sink.h"

#include <cstdio>

#include "ops/writing_store.h"

namespace chronolith::cli {

namespace {

// Errors after which trying the next line makes no sense.
bool IsFatal(const Status& s) {
  switch (s.code()) {
    case StatusCode::kUnavailable:
    case StatusCode::kUnknown:
    case StatusCode::kFenced:
    case StatusCode::kDataLoss:
    case StatusCode::kIoError:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kResourceExhausted:  // no room: the next line would wait for it as long again
    case StatusCode::kCancelled:
      return true;
    default:
      return false;
  }
}

}  // namespace

ImportSink::ImportSink(Storage* storage, AckLevel level, std::size_t batch, std::size_t refusals_kept)
    : appender_(storage == nullptr ? nullptr : storage->NewAppender()),
      level_(level),
      batch_(batch),
      refusals_kept_(refusals_kept) {
  items_.reserve(batch);
}

Result<std::uint64_t> ImportSink::OnSeries(const Labels& labels) {
  new_series_.push_back(labels);
  refs_.emplace_back();
  return refs_.size() - 1;
}

Status ImportSink::OnMetadata(std::uint64_t series, std::uint64_t line, const Metadata& metadata) {
  return Add({series, line, metadata});
}
Status ImportSink::OnSample(std::uint64_t series, std::uint64_t line, Sample sample) { return Add({series, line, sample}); }
Status ImportSink::OnExemplar(std::uint64_t series, std::uint64_t line, Exemplar exemplar) {
  return Add({series, line, std::move(exemplar)});
}
Status ImportSink::OnHistogram(std::uint64_t series, std::uint64_t line, HistogramSample histogram) {
  return Add({series, line, std::move(histogram)});
}

Status ImportSink::Add(Item item) {
  if (items_.size() >= batch_) Flush();
  items_.push_back(std::move(item));
  return Status::Ok();
}

void ImportSink::OnForgetSeries() {
  Flush();
  refs_.clear();
  new_series_.clear();
  refused_series_.clear();
}

void ImportSink::OnRefused(std::uint64_t line, const Status& reason) {
  ++refused_;
  if (refusals_.size() < refusals_kept_) {
    std::fprintf(stderr, "%s:%llu: %s\n", file_.c_str(), static_cast<unsigned long long>(line), reason.message().c_str());
    refusals_.push_back({file_, line, reason.message()});
  } else if (refused_ == refusals_kept_ + 1 && refusals_kept_ > 0) {
    std::fprintf(stderr, "%s: more lines were refused; they are counted but not shown\n", file_.c_str());
  }
}

void ImportSink::Resolve() {
  if (new_series_.empty()) return;
  const std::size_t first = refs_.size() - new_series_.size();
  std::vector<SeriesRef> resolved;
  WriteResult result = appender_->Refs(new_series_, &resolved);
  for (std::size_t i = 0; i < resolved.size() && first + i < refs_.size(); ++i) refs_[first + i] = resolved[i];
  for (const Refusal& refusal : result.refused) {
    refused_series_.insert_or_assign(first + refusal.series, refusal.reason);
    // Of one series it may also be that there are as many as may be: those that are known still take samples.
    const bool limit = refusal.reason.code() == StatusCode::kResourceExhausted && !ops::IsOfFullDisk(refusal.reason);
    if (!limit && IsFatal(refusal.reason)) fatal_ = refusal.reason;
  }
  if (!result.ok() && (result.refused.empty() || IsFatal(result.status))) fatal_ = result.status;
  new_series_.clear();
}

std::vector<const ImportSink::Item*> ImportSink::AppendAll() {
  std::vector<const Item*> calls;  // the store names refused items by the order of the calls
  calls.reserve(items_.size());
  for (Item& item : items_) {
    const SeriesRef ref = refs_[item.series];
    if (ref == SeriesRef{}) {
      const auto reason = refused_series_.find(item.series);
      // Of a refused series the samples are reported; its metadata would only repeat the reason.
      if (!std::holds_alternative<Metadata>(item.what)) {
        OnRefused(item.line, reason == refused_series_.end() ? UnknownOutcome("the series was refused") : reason->second);
      }
      continue;
    }
    calls.push_back(&item);
    if (const auto* sample = std::get_if<Sample>(&item.what)) {
      appender_->Append(ref, sample->timestamp, sample->value);
    } else if (auto* histogram = std::get_if<HistogramSample>(&item.what)) {
      appender_->AppendHistogram(ref, histogram->timestamp, std::move(histogram->histogram));
    } else if (auto* exemplar = std::get_if<Exemplar>(&item.what)) {
      appender_->AppendExemplar(ref, std::move(*exemplar));
    } else {
      appender_->SetMetadata(ref, std::move(std::get<Metadata>(item.what)));
    }
  }
  return calls;
}

void ImportSink::Count(const Item& item) {
  samples_.fetch_add(std::holds_alternative<Sample>(item.what) ? 1 : 0, std::memory_order_relaxed);
  histograms_ += std::holds_alternative<HistogramSample>(item.what) ? 1 : 0;
  exemplars_ += std::holds_alternative<Exemplar>(item.what) ? 1 : 0;
  metadata_ += std::holds_alternative<Metadata>(item.what) ? 1 : 0;
}

void ImportSink::Flush() {
  if (appender_ == nullptr) {
    for (const Item& item : items_) Count(item);
    items_.clear();
    new_series_.clear();
    return;
  }
  if (fatal_.ok()) Resolve();
  if (!fatal_.ok()) {
    items_.clear();
    return;
  }
  const std::vector<const Item*> calls = AppendAll();
  WriteOptions options;
  options.level = level_;
  const WriteResult result = appender_->Commit(options);
  std::vector<bool> lost(calls.size(), false);
  for (const Refusal& refusal : result.refused) {
    if (IsFatal(refusal.reason)) {
      fatal_ = refusal.reason;
    } else if (refusal.series < calls.size()) {
      lost[refusal.series] = true;
      OnRefused(calls[refusal.series]->line, refusal.reason);
    }
  }
  if (!result.ok() && (result.refused.empty() || IsFatal(result.status))) fatal_ = result.status;
  if (fatal_.ok()) {
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (!lost[i]) Count(*calls[i]);
    }
  }
  items_.clear();
}

}  // namespace chronolith::cli

#include "server/remote_writer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <utility>

#include "base/counters.h"
#include "base/hash.h"
#include "interop/family_metadata.h"
#include "interop/text_scan.h"

namespace chronolith::server {
namespace {

using interop::RemoteWriteVersion;

// What a batch takes: of each, in the vectors here (twice, as they grow) and in the appender.
constexpr std::uint64_t kSampleBytes = 2 * (sizeof(Sample) + 24 + 12);
constexpr std::uint64_t kSeriesBytes =
    2 * (sizeof(interop::RemoteWriteBatch::Series) + sizeof(SeriesCache::Key) + sizeof(SeriesCache::Value));
constexpr std::uint64_t kItemBytes = 1024;       // a histogram without buckets, or an exemplar with its labels
constexpr std::uint64_t kPayloadByteBytes = 16;  // two spans of a bucket each
constexpr std::uint64_t kNewSeriesBytes = 512;
constexpr std::uint64_t kNewLabelByteBytes = 4;  // its labels, as a key in the batch, as a record

// The level was not reached: of none of it is known that it survives. Else the status is the first refusal's.
bool IsUnreached(const WriteResult& result) {
  return !result.ok() && (result.refused.empty() || result.status != result.refused.front().reason);
}

// Not ok: a Prometheus before 3.0 would refuse the whole answer that has the series.
Status CheckLegacyNames(const Labels& labels) {
  for (const Label& label : labels) {
    const bool metric = label.name == kMetricName;
    const std::string_view name = metric ? label.value : label.name;
    if ((metric ? interop::MetricNamePrefix(name) : interop::LabelNamePrefix(name)) == name.size()) continue;
    return InvalidArgument(std::string(metric ? "the metric" : "label") + " name " + interop::Quoted(name) +
                           " is not one of Prometheus before 3.0, and --name-validation is legacy");
  }
  return Status::Ok();
}

template <typename... Vectors>
std::size_t BytesOf(const Vectors&... vectors) {
  return ((vectors.capacity() * sizeof(typename Vectors::value_type)) + ...);
}

}  // namespace

RemoteWriter::RemoteWriter(RemoteWriterShared* shared) : shared_(shared), appender_(shared->storage->NewAppender()) {}

Status RemoteWriter::Write(RemoteWriteVersion version, std::string_view message, AckLevel level, MemoryShare* share,
                           WriteOutcome* outcome) {
  const std::int64_t now = shared_->clock->NowMs();
  version_ = version;
  cache_ = version == RemoteWriteVersion::k1 ? &shared_->cache1 : &shared_->cache2;
  latest_ = now + shared_->future_ms_max;
  minutes_ = static_cast<std::uint32_t>(NowNanos() / 60'000'000'000ULL);
  interop::RemoteWriteDecoder decoder(version, message, shared_->expanded_bytes_max);
  decoder_ = &decoder;
  hits_ = misses_ = 0;
  own_bytes_ = share->bytes();
  Status status = decoder.Begin();
  while (status.ok()) {
    status = decoder.Next(&batch_);
    if (!status.ok() || batch_.empty()) break;
    status = WriteBatch(level, share, outcome);
  }
  batch_.Clear();
  decoder_ = nullptr;
  return status;
}

std::size_t RemoteWriter::held_bytes() const {
  return BytesOf(batch_.series, batch_.samples, batch_.items, batch_.metadata, batch_.arena, keys_, found_, calls_, missing_,
                 retold_);
}

std::uint64_t RemoteWriter::BatchBytes() const {
  std::uint64_t new_labels = 0;
  for (const std::uint32_t i : missing_) new_labels += keys_[i].bytes.size();
  return batch_.series.size() * kSeriesBytes + batch_.samples.size() * kSampleBytes + batch_.items.size() * kItemBytes +
         batch_.item_bytes * kPayloadByteBytes + missing_.size() * kNewSeriesBytes + new_labels * kNewLabelByteBytes +
         (batch_.metadata.empty() ? 0 : kFamilyBytes);
}

Status RemoteWriter::WriteBatch(AckLevel level, MemoryShare* share, WriteOutcome* outcome) {
  keys_.clear();
  for (const Batch::Series& series : batch_.series) {
    const std::string_view labels = batch_.LabelsOf(series);
    keys_.push_back({labels, StableHash(labels)});
  }
  cache_->Find(keys_, minutes_, &found_);
  missing_.clear();
  retold_.clear();
  calls_.clear();
  for (std::uint32_t i = 0; i < found_.size(); ++i) {
    if (found_[i].ref.id == 0) missing_.push_back(i);
  }
  hits_ += found_.size() - missing_.size();
  misses_ += missing_.size();
  if (!share->GrowTo(own_bytes_ + BatchBytes())) return share->refusal();
  if (!missing_.empty()) Resolve({}, outcome);
  FindMixed();
  for (std::size_t i = 0; i < batch_.series.size(); ++i) AppendSeries(i, outcome);
  if (Commit(level, false, outcome)) {
    WriteFamilies(level, outcome);
    return Status::Ok();
  }
  const std::vector<Call> again = std::exchange(calls_, {});
  for (const Call& call : again) {
    if (found_[call.series].ref.id == 0) continue;  // refused by Resolve
    if (call.is_item) {
      AppendItem(call.series, call.index, outcome);
    } else {
      const Sample& sample = batch_.samples[call.index];
      appender_->Append(found_[call.series].ref, sample.timestamp, sample.value);
      calls_.push_back(call);
    }
  }
  (void)Commit(level, true, outcome);
  WriteFamilies(level, outcome);
  return Status::Ok();
}

// Whether something of it stands in the store afterwards. Metadata alone does not make a series.
bool RemoteWriter::BringsData(std::size_t series) const {
  const Batch::Series& s = batch_.series[series];
  const auto samples = std::span(batch_.samples).subspan(SamplesBegin(series), s.samples_end - SamplesBegin(series));
  const auto items = std::span(batch_.items).subspan(ItemsBegin(series), s.items_end - ItemsBegin(series));
  return std::any_of(samples.begin(), samples.end(), [&](const Sample& sample) { return sample.timestamp <= latest_; }) ||
         std::any_of(items.begin(), items.end(), [](const Batch::Item& item) { return item.kind != Batch::ItemKind::kMetadata; });
}

// Of a series that the cache does not know, and that brings no data: whether it is resolved nevertheless, because it brings
// metadata and is in the store already. Prometheus passes the others over, too.
bool RemoteWriter::WantsMetadata(std::size_t series, const std::string& encoded, std::uint64_t items, WriteOutcome* outcome) {
  if (batch_.series[series].items_end == ItemsBegin(series)) return false;
  Status status = shared_->storage->WaitReady(std::chrono::steady_clock::now());  // the look-up would wait for replay
  if (status.ok()) status = shared_->storage->SeriesMetadata(Labels::FromEncoded(encoded)).status();
  if (!status.ok() && status.code() != StatusCode::kNotFound) Refuse(items, status, series, outcome);
  return status.ok();
}

void RemoteWriter::Resolve(std::span<const Call> expired, WriteOutcome* outcome) {
  // What was refused of the others is counted already.
  const auto items_of = [&](std::uint32_t i) -> std::uint64_t {
    if (expired.empty()) return batch_.series[i].samples_end - SamplesBegin(i) + batch_.series[i].items_end - ItemsBegin(i);
    const auto begin = std::partition_point(expired.begin(), expired.end(), [i](const Call& call) { return call.series < i; });
    const auto end = std::partition_point(begin, expired.end(), [i](const Call& call) { return call.series == i; });
    return static_cast<std::uint64_t>(end - begin);
  };
  std::vector<Labels> labels;
  std::vector<std::uint32_t> series;  // of labels
  std::string encoded;
  for (const std::uint32_t i : missing_) {
    Status status = interop::NormalizeLabels(version_, keys_[i].bytes, &encoded);
    Labels made;
    if (status.ok()) made = Labels::FromEncoded(encoded);
    if (status.ok() && shared_->names == NameValidation::kLegacy) status = CheckLegacyNames(made);
    if (!status.ok()) {
      Refuse(items_of(i), status, i, outcome);
      continue;
    }
    if (!BringsData(i) && !WantsMetadata(i, encoded, items_of(i), outcome)) {
      for (std::size_t k = SamplesBegin(i); expired.empty() && k < batch_.series[i].samples_end; ++k)
        RefuseFuture(batch_.samples[k], i, outcome);
      continue;
    }
    labels.push_back(std::move(made));
    series.push_back(i);
  }
  if (labels.empty()) return;
  std::vector<SeriesRef> refs;
  const WriteResult result = appender_->Refs(labels, &refs);
  std::vector<const Status*> reasons(labels.size(), &result.status);
  for (const Refusal& refusal : result.refused) reasons[refusal.series] = &refusal.reason;
  shared_->families.Await(labels, &awaited_);
  for (std::size_t k = 0; k < labels.size(); ++k) {
    const std::uint32_t i = series[k];
    if (refs[k].id == 0) {
      Refuse(items_of(i), *reasons[k], i, outcome);
      continue;
    }
    found_[i] = {refs[k], 0};
    cache_->Insert(keys_[i], found_[i], minutes_);
  }
}

void RemoteWriter::AppendSeries(std::size_t series, WriteOutcome* outcome) {
  const Batch::Series& s = batch_.series[series];
  const SeriesRef ref = found_[series].ref;
  if (ref.id == 0) return;
  const bool mixed = !mixed_.empty() && mixed_.contains(ref.id);
  for (std::size_t i = SamplesBegin(series); i < s.samples_end; ++i) {
    const Sample& sample = batch_.samples[i];
    if (sample.timestamp > latest_) [[unlikely]] {
      RefuseFuture(sample, series, outcome);
      continue;
    }
    if (mixed && !TakeTime(ref, sample.timestamp, false)) [[unlikely]] {
      Refuse(1, InvalidArgument("the sample at " + std::to_string(sample.timestamp) + " comes with a histogram of that time"),
             series, outcome);
      continue;
    }
    appender_->Append(ref, sample.timestamp, sample.value);
    calls_.push_back({static_cast<std::uint32_t>(series), static_cast<std::uint32_t>(i), false});
  }
  for (std::size_t i = ItemsBegin(series); i < s.items_end; ++i) AppendItem(series, i, outcome);
}

void RemoteWriter::FindMixed() {
  mixed_.clear();
  taken_.clear();
  if (batch_.items.empty() || batch_.samples.empty()) return;
  absl::flat_hash_set<std::uint64_t> histograms;
  for (std::size_t i = 0; i < batch_.series.size(); ++i) {
    const bool any = std::any_of(batch_.items.begin() + static_cast<std::ptrdiff_t>(ItemsBegin(i)),
                                 batch_.items.begin() + static_cast<std::ptrdiff_t>(batch_.series[i].items_end),
                                 [](const Batch::Item& item) { return item.kind == Batch::ItemKind::kHistogram; });
    if (any) histograms.insert(found_[i].ref.id);
  }
  for (std::size_t i = 0; !histograms.empty() && i < batch_.series.size(); ++i) {
    const std::uint64_t id = found_[i].ref.id;
    if (batch_.series[i].samples_end > SamplesBegin(i) && histograms.contains(id)) mixed_.insert(id);
  }
}

bool RemoteWriter::TakeTime(SeriesRef ref, Timestamp time, bool histogram) {
  return taken_.try_emplace({ref.id, time}, histogram).first->second == histogram;
}

void RemoteWriter::AppendItem(std::size_t series, std::size_t index, WriteOutcome* outcome) {
  const Batch::Item& item = batch_.items[index];
  const Call call{static_cast<std::uint32_t>(series), static_cast<std::uint32_t>(index), true};
  if (item.kind == Batch::ItemKind::kMetadata) return AppendMetadata(call, outcome);
  if (item.kind == Batch::ItemKind::kHistogram) {
    HistogramSample sample;
    Status status = interop::DecodeHistogram(item.payload, &sample);
    if (status.ok() && sample.timestamp > latest_) {
      status = InvalidArgument("the histogram at " + std::to_string(sample.timestamp) + " is too far in the future");
    }
    if (status.ok() && mixed_.contains(found_[series].ref.id) && !TakeTime(found_[series].ref, sample.timestamp, true)) {
      status = InvalidArgument("the histogram at " + std::to_string(sample.timestamp) + " comes with a sample of that time");
    }
    if (!status.ok()) return Refuse(1, status, series, outcome);
    appender_->AppendHistogram(found_[series].ref, sample.timestamp, std::move(sample.histogram));
  } else {
    Exemplar exemplar;
    Status status = interop::DecodeExemplar(version_, item.payload, decoder_->symbols(), &exemplar);
    if (status.ok() && version_ == RemoteWriteVersion::k2) status = decoder_->Expand(exemplar.labels.encoded().size());
    if (status.ok() && exemplar.timestamp > latest_) {
      status = InvalidArgument("the exemplar at " + std::to_string(exemplar.timestamp) + " is too far in the future");
    }
    if (!status.ok()) return Refuse(1, status, series, outcome);
    appender_->AppendExemplar(found_[series].ref, std::move(exemplar));
  }
  calls_.push_back(call);
}

// Of 2.0, which sends it with each request: written where it is new.
void RemoteWriter::AppendMetadata(const Call& call, WriteOutcome* outcome) {
  const std::uint32_t series = call.series;
  Metadata metadata;
  Status status = interop::DecodeMetadata2(batch_.items[call.index].payload, decoder_->symbols(), &metadata);
  if (status.ok()) status = decoder_->Expand(metadata.unit.size() + metadata.help.size());
  if (!status.ok()) return Refuse(1, status, series, outcome);
  if (metadata == Metadata{}) return;
  const std::uint64_t fingerprint = interop::FingerprintOf(metadata) + shared_->told_since.load();
  if (found_[series].metadata == fingerprint) return;
  found_[series].metadata = fingerprint;
  retold_.push_back(series);
  // It may have been told to an earlier process, or before the store was opened again.
  std::string encoded;
  if (!interop::NormalizeLabels(version_, keys_[series].bytes, &encoded).ok()) return;
  const auto stored = shared_->storage->SeriesMetadata(Labels::FromEncoded(std::move(encoded)));
  if (stored.ok() && *stored == metadata) return;
  appender_->SetMetadata(found_[series].ref, std::move(metadata));
  calls_.push_back(call);
}

void RemoteWriter::WriteFamilies(AckLevel level, WriteOutcome* outcome) {
  const ToldFamilies::Awaited awaited = std::exchange(awaited_, {});
  for (const auto& [family, metadata] : awaited) {
    if (!TellFamily(family, *metadata, level, outcome)) return;
  }
  for (const std::string_view payload : batch_.metadata) {
    std::string family;
    Metadata metadata;
    if (const Status status = interop::DecodeMetadata1(payload, &family, &metadata); !status.ok()) {
      outcome->Refuse(1, KindOf(status), status, "metadata of " + family.substr(0, 300));
    } else if (!TellFamily(family, metadata, level, outcome)) {
      return;
    }
  }
  (void)CommitFamilies(level, outcome);
}

bool RemoteWriter::TellFamily(const std::string& family, const Metadata& metadata, AckLevel level, WriteOutcome* outcome) {
  std::vector<SeriesRef> untold;
  if (const Status status = shared_->families.Untold(family, metadata, &untold); !status.ok()) {
    outcome->Refuse(1, KindOf(status), status, "metadata of " + family.substr(0, 300));
  }
  for (const SeriesRef ref : untold) {
    family_bytes_ += kItemBytes + metadata.unit.size() + metadata.help.size();
    appender_->SetMetadata(ref, metadata);
    if (++family_items_ < kFamilyItems && family_bytes_ < kFamilyBytes) continue;
    if (!CommitFamilies(level, outcome)) return false;
  }
  return true;
}

bool RemoteWriter::CommitFamilies(AckLevel level, WriteOutcome* outcome) {
  const std::uint64_t items = std::exchange(family_items_, 0);
  family_bytes_ = 0;
  if (items == 0) return true;
  const WriteResult result = appender_->Commit({.level = level});
  if (result.ok()) {
    outcome->metadata += items;
    return true;
  }
  shared_->families.Forget();
  for (const Refusal& refusal : result.refused) outcome->Refuse(1, KindOf(refusal.reason), refusal.reason);
  if (IsUnreached(result)) outcome->Refuse(items - result.refused.size(), KindOf(result.status), result.status);
  return KindOf(result.status) == RefusalKind::kDrop;
}

bool RemoteWriter::Commit(AckLevel level, bool again, WriteOutcome* outcome) {
  if (calls_.empty()) return true;
  const WriteResult result = appender_->Commit({.level = level});
  std::uint64_t* const of_kind[] = {&outcome->histograms, &outcome->exemplars, &outcome->metadata};
  const auto counter = [&](const Call& call) {
    return call.is_item ? of_kind[static_cast<std::size_t>(batch_.items[call.index].kind)] : &outcome->samples;
  };
  if (result.ok()) {
    for (const std::uint32_t i : retold_) cache_->Insert(keys_[i], found_[i], minutes_);
    if (batch_.items.empty()) {
      outcome->samples += calls_.size();
    } else {
      for (const Call& call : calls_) ++*counter(call);
    }
    return true;
  }
  const bool unreached = IsUnreached(result);
  std::vector<bool> refused(calls_.size());
  std::vector<Call> expired;
  for (const Refusal& refusal : result.refused) {
    const Call& call = calls_[refusal.series];
    refused[refusal.series] = true;
    if (refusal.reason.code() == StatusCode::kNotFound && !again) {
      expired.push_back(call);
    } else {
      Refuse(1, refusal.reason, call.series, outcome);
    }
  }
  std::uint64_t unsure = 0;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    if (!refused[i]) ++*(unreached ? &unsure : counter(calls_[i]));
  }
  if (unreached) outcome->Refuse(unsure, KindOf(result.status), result.status);
  if (expired.empty()) return true;
  // The series was removed since the cache learned its reference, and many others after it.
  std::sort(expired.begin(), expired.end(),
            [](const Call& a, const Call& b) { return std::pair(a.series, a.index) < std::pair(b.series, b.index); });
  missing_.clear();
  for (const Call& call : expired) {
    if (!missing_.empty() && missing_.back() == call.series) continue;
    missing_.push_back(call.series);
    found_[call.series] = {};
    cache_->Erase(keys_[call.series]);
  }
  Resolve(expired, outcome);
  calls_ = std::move(expired);
  return false;
}

void RemoteWriter::Refuse(std::uint64_t items, const Status& reason, std::size_t series, WriteOutcome* outcome) {
  outcome->Refuse(items, KindOf(reason), reason, outcome->wants_reasons() ? NameOf(series) : "");
}

void RemoteWriter::RefuseFuture(const Sample& sample, std::size_t series, WriteOutcome* outcome) {
  Refuse(1, InvalidArgument("the sample at " + std::to_string(sample.timestamp) + " is too far in the future"), series, outcome);
}

std::string RemoteWriter::NameOf(std::size_t series) {
  std::string encoded;
  if (!interop::NormalizeLabels(version_, keys_[series].bytes, &encoded).ok())
    return "series " + std::to_string(series) + " of the request";
  return Labels::FromEncoded(std::move(encoded)).ToString().substr(0, 300);
}

}  // namespace chronolith::server

#include "server/remote_writer.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <span>
#include <utility>

#include "base/counters.h"
#include "base/hash.h"
#include "interop/family_metadata.h"
#include "interop/family_names.h"

namespace chronolith::server {
namespace {

using interop::RemoteWriteVersion;

bool ById(SeriesRef a, SeriesRef b) { return a.id < b.id; }

}  // namespace

Status FamilyMetadataWriter::Set(const std::string& family, const Metadata& metadata, Appender* appender, std::uint64_t* set) {
  std::vector<SeriesRef> ids;
  for (const std::string& name : interop::SeriesNamesOf(family, metadata.type)) {
    Result<std::vector<SeriesRef>> found = storage_->SeriesIds({Matcher::Equal(std::string(kMetricName), name)});
    if (!found.ok()) return found.status();
    ids.insert(ids.end(), found->begin(), found->end());
  }
  std::sort(ids.begin(), ids.end(), ById);
  const std::uint64_t fingerprint = interop::FingerprintOf(metadata);
  MutexLock lock(&mu_);
  if (ids.empty()) {  // names that nobody writes to must not fill the table
    families_.erase(family);
    return Status::Ok();
  }
  if (families_.size() >= kFamiliesMax && !families_.contains(family)) families_.clear();
  Family& known = families_[family];
  if (known.metadata != fingerprint) known.told.clear();
  std::vector<SeriesRef> news;
  std::set_difference(ids.begin(), ids.end(), known.told.begin(), known.told.end(), std::back_inserter(news), ById);
  for (const SeriesRef ref : news) appender->SetMetadata(ref, metadata);
  *set += news.size();
  known = {fingerprint, std::move(ids)};
  return Status::Ok();
}

void FamilyMetadataWriter::Forget() {
  MutexLock lock(&mu_);
  families_.clear();
}

RemoteWriter::RemoteWriter(RemoteWriterShared* shared) : shared_(shared), appender_(shared->storage->NewAppender()) {}

Status RemoteWriter::Write(RemoteWriteVersion version, std::string_view message, AckLevel level, WriteOutcome* outcome) {
  const std::int64_t now = shared_->clock->NowMs();
  version_ = version;
  cache_ = version == RemoteWriteVersion::k1 ? &shared_->cache1 : &shared_->cache2;
  latest_ = now + shared_->future_ms_max;
  minutes_ = static_cast<std::uint32_t>(NowNanos() / 60'000'000'000ULL);
  interop::RemoteWriteDecoder decoder(version, message, shared_->expanded_bytes_max);
  decoder_ = &decoder;
  hits_ = misses_ = 0;
  Status status = decoder.Begin();
  while (status.ok()) {
    status = decoder.Next(&batch_);
    if (!status.ok() || batch_.empty()) break;
    WriteBatch(level, outcome);
  }
  batch_.Clear();
  decoder_ = nullptr;
  return status;
}

void RemoteWriter::WriteBatch(AckLevel level, WriteOutcome* outcome) {
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
  if (!missing_.empty()) Resolve(outcome);
  for (std::size_t i = 0; i < batch_.series.size(); ++i) AppendSeries(i, outcome);
  AppendFamilies(outcome);
  if (Commit(level, false, outcome)) return;
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
}

// What is in missing_.
void RemoteWriter::Resolve(WriteOutcome* outcome) {
  std::vector<Labels> labels;
  std::vector<std::uint32_t> series;  // of labels
  std::string encoded;
  for (const std::uint32_t i : missing_) {
    if (Status status = interop::NormalizeLabels(version_, keys_[i].bytes, &encoded); !status.ok()) {
      Refuse(batch_.series[i].samples_end - SamplesBegin(i) + batch_.series[i].items_end - ItemsBegin(i), status, i, outcome);
      continue;
    }
    labels.push_back(Labels::FromEncoded(encoded));
    series.push_back(i);
  }
  std::vector<SeriesRef> refs;
  const WriteResult result = appender_->Refs(labels, &refs);
  std::vector<const Status*> reasons(labels.size(), &result.status);
  for (const Refusal& refusal : result.refused) reasons[refusal.series] = &refusal.reason;
  for (std::size_t k = 0; k < labels.size(); ++k) {
    const std::uint32_t i = series[k];
    if (refs[k].id == 0) {
      Refuse(batch_.series[i].samples_end - SamplesBegin(i) + batch_.series[i].items_end - ItemsBegin(i), *reasons[k], i, outcome);
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
  for (std::size_t i = SamplesBegin(series); i < s.samples_end; ++i) {
    const Sample& sample = batch_.samples[i];
    if (sample.timestamp > latest_) [[unlikely]] {
      Refuse(1, InvalidArgument("the sample at " + std::to_string(sample.timestamp) + " is too far in the future"), series,
             outcome);
      continue;
    }
    appender_->Append(ref, sample.timestamp, sample.value);
    calls_.push_back({static_cast<std::uint32_t>(series), static_cast<std::uint32_t>(i), false});
  }
  for (std::size_t i = ItemsBegin(series); i < s.items_end; ++i) AppendItem(series, i, outcome);
}

void RemoteWriter::AppendItem(std::size_t series, std::size_t index, WriteOutcome* outcome) {
  const Batch::Item& item = batch_.items[index];
  const Call call{static_cast<std::uint32_t>(series), static_cast<std::uint32_t>(index), true};
  if (item.kind == Batch::ItemKind::kMetadata) return AppendMetadata(series, item.payload, outcome);
  if (item.kind == Batch::ItemKind::kHistogram) {
    HistogramSample sample;
    Status status = interop::DecodeHistogram(item.payload, &sample);
    if (status.ok() && sample.timestamp > latest_) {
      status = InvalidArgument("the histogram at " + std::to_string(sample.timestamp) + " is too far in the future");
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
void RemoteWriter::AppendMetadata(std::size_t series, std::string_view payload, WriteOutcome* outcome) {
  Metadata metadata;
  Status status = interop::DecodeMetadata2(payload, decoder_->symbols(), &metadata);
  if (status.ok()) status = decoder_->Expand(metadata.unit.size() + metadata.help.size());
  if (!status.ok()) return Refuse(1, status, series, outcome);
  if (metadata == Metadata{}) return;
  const std::uint64_t fingerprint = interop::FingerprintOf(metadata);
  if (found_[series].metadata == fingerprint) return;
  const bool first = found_[series].metadata == 0;
  found_[series].metadata = fingerprint;
  retold_.push_back(static_cast<std::uint32_t>(series));
  if (first) {  // of this process: the store may have it
    std::string encoded;
    if (!interop::NormalizeLabels(version_, keys_[series].bytes, &encoded).ok()) return;
    const auto stored = shared_->storage->SeriesMetadata(Labels::FromEncoded(std::move(encoded)));
    if (stored.ok() && *stored == metadata) return;
  }
  appender_->SetMetadata(found_[series].ref, std::move(metadata));
  // Found again by its payload, where it must be written once more.
  for (std::size_t i = ItemsBegin(series); i < batch_.series[series].items_end; ++i) {
    if (batch_.items[i].payload.data() != payload.data()) continue;
    calls_.push_back({static_cast<std::uint32_t>(series), static_cast<std::uint32_t>(i), true});
    break;
  }
}

void RemoteWriter::AppendFamilies(WriteOutcome* outcome) {
  family_items_ = 0;
  for (const std::string_view payload : batch_.metadata) {
    std::string family;
    Metadata metadata;
    Status status = interop::DecodeMetadata1(payload, &family, &metadata);
    if (status.ok()) status = shared_->families.Set(family, metadata, appender_.get(), &family_items_);
    if (!status.ok()) outcome->Refuse(1, KindOf(status), status, "metadata of " + family.substr(0, 300));
  }
}

bool RemoteWriter::Commit(AckLevel level, bool again, WriteOutcome* outcome) {
  if (calls_.empty() && family_items_ == 0) return true;
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
    outcome->metadata += family_items_;
    return true;
  }
  shared_->families.Forget();
  // The level was not reached: of none of it is known that it survives. Else the status is the first refusal's.
  const bool unreached = result.refused.empty() || result.status != result.refused.front().reason;
  std::vector<bool> refused(calls_.size());
  std::vector<Call> expired;
  for (const Refusal& refusal : result.refused) {
    if (refusal.series >= calls_.size()) {  // of a family's metadata
      outcome->Refuse(1, KindOf(refusal.reason), refusal.reason);
      continue;
    }
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
  Resolve(outcome);
  family_items_ = 0;
  calls_ = std::move(expired);
  return false;
}

void RemoteWriter::Refuse(std::uint64_t items, const Status& reason, std::size_t series, WriteOutcome* outcome) {
  outcome->Refuse(items, KindOf(reason), reason, outcome->wants_reasons() ? NameOf(series) : "");
}

std::string RemoteWriter::NameOf(std::size_t series) {
  std::string encoded;
  if (!interop::NormalizeLabels(version_, keys_[series].bytes, &encoded).ok())
    return "series " + std::to_string(series) + " of the request";
  return Labels::FromEncoded(std::move(encoded)).ToString().substr(0, 300);
}

}  // namespace chronolith::server

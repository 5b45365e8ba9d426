#include "ops/sink_remote_write.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/byte_arena.h"
#include "ops/grouped_items.h"
#include "ops/log_pace.h"

namespace chronolith::ops {
namespace {

using interop::CountsOf;
using interop::RemoteWriteAnswer;
using interop::RemoteWriteClient;
using interop::RemoteWriteCounts;
using interop::RemoteWriteSeries;
using interop::RemoteWriteVersion;

// What an entry adds to a message besides its strings, about.
constexpr std::size_t kSampleBytes = 20;

std::size_t BytesOf(const Histogram& histogram) {
  return std::visit(
      [](const auto& h) {
        std::size_t values = h.custom_values.size() + 4 * (h.positive_spans.size() + h.negative_spans.size());
        if constexpr (requires { h.positive_deltas; }) {
          values += h.positive_deltas.size() + h.negative_deltas.size();
        } else {
          values += h.positive_counts.size() + h.negative_counts.size();
        }
        return 60 + 8 * values;
      },
      histogram);
}

// The first half of its items, and the rest.
std::pair<RemoteWriteSeries, RemoteWriteSeries> Halves(const RemoteWriteSeries& s) {
  std::pair<RemoteWriteSeries, RemoteWriteSeries> halves{{.labels = s.labels}, {.labels = s.labels}};
  std::size_t left = s.items() / 2;
  const auto divide = [&](auto items, auto* first, auto* second) {
    const std::size_t n = std::min(left, items.size());
    left -= n;
    *first = items.first(n);
    *second = items.subspan(n);
  };
  divide(s.samples, &halves.first.samples, &halves.second.samples);
  divide(s.histograms, &halves.first.histograms, &halves.second.histograms);
  divide(s.exemplars, &halves.first.exemplars, &halves.second.exemplars);
  divide(s.metadata, &halves.first.metadata, &halves.second.metadata);
  return halves;
}

std::size_t BytesOf(const Exemplar& exemplar) { return kSampleBytes + exemplar.labels.encoded().size(); }
std::size_t BytesOf(const Metadata& metadata) { return kSampleBytes + metadata.help.size() + metadata.unit.size(); }

class RemoteWriteSink final : public RecordSink {
 public:
  RemoteWriteSink(const RemoteWriteTargetOptions& options, std::unique_ptr<RemoteWriteClient> client, LogPace* pace,
                  std::size_t pace_id, const std::atomic<bool>* cancel)
      : options_(options), client_(std::move(client)), pace_(pace), pace_id_(pace_id), cancel_(cancel) {}
  ~RemoteWriteSink() override { pace_->Leave(pace_id_); }

  Status OnSeries(const RecordPlace&, std::span<const SeriesEntry> series) override {
    for (const SeriesEntry& s : series) {
      const auto [at, added] = known_.try_emplace(s.ordinal);
      if (!added) continue;
      scratch_.clear();
      interop::AppendRemoteWriteLabels(*s.labels, &scratch_);
      at->second.labels = labels_.Copy(scratch_);
    }
    return Status::Ok();
  }
  void OnForgetSeries() override {
    // Those of the request that is being collected stay until the next time.
    ByteArena labels;
    absl::flat_hash_map<Ordinal, Known> known;
    for (std::uint32_t i = 0; i < batch_.size(); ++i) {
      batch_[i].labels = labels.Copy(batch_[i].labels);
      known.emplace(batch_[i].ordinal, Known{batch_[i].labels, i});
    }
    labels_ = std::move(labels);
    known_ = std::move(known);
  }

  Status OnSamples(const RecordPlace&, std::span<const SampleEntry> samples) override {
    for (const SampleEntry& s : samples) {
      if (Status status = MakeRoom(s.timestamp); !status.ok()) return status;
      samples_.Add(EntryFor(s.ordinal, kSampleBytes), {s.timestamp, s.value});
    }
    return Status::Ok();
  }
  Status OnHistograms(const RecordPlace&, std::span<const HistogramEntry> histograms) override {
    for (const HistogramEntry& h : histograms) {
      if (Status status = MakeRoom(h.sample->timestamp); !status.ok()) return status;
      histograms_.Add(EntryFor(h.ordinal, BytesOf(h.sample->histogram)), *h.sample);
    }
    return Status::Ok();
  }
  Status OnExemplars(const RecordPlace&, std::span<const ExemplarEntry> exemplars) override {
    for (const ExemplarEntry& e : exemplars) {
      if (Status status = MakeRoom(); !status.ok()) return status;
      exemplars_.Add(EntryFor(e.ordinal, BytesOf(*e.exemplar)), *e.exemplar);
    }
    return Status::Ok();
  }
  Status OnMetadata(const RecordPlace&, std::span<const MetadataEntry> metadata) override {
    for (const MetadataEntry& m : metadata) {
      if (Status status = MakeRoom(); !status.ok()) return status;
      metadata_.Add(EntryFor(m.ordinal, BytesOf(*m.metadata)), *m.metadata);
    }
    return Status::Ok();
  }
  Status Flush(Delivered* delivered) override {
    if (Status status = Send(/*last=*/true); !status.ok()) return status;
    delivered->sent += unflushed_.sent;
    delivered->skipped += unflushed_.skipped;
    delivered->refused += unflushed_.refused;
    for (std::string& why : unflushed_.reasons) {
      if (delivered->reasons.size() < Delivered::kReasonsMax) delivered->reasons.push_back(std::move(why));
    }
    unflushed_ = {};
    return Status::Ok();
  }

 private:
  struct Known {
    std::string_view labels;  // of AppendRemoteWriteLabels, in labels_
    std::uint32_t entry = 0;  // in batch_, where that one has the same ordinal
  };
  struct Entry {
    Ordinal ordinal = 0;
    std::string_view labels;
    bool carried = false;  // from the request before: it had no sample there
  };

  // The entry of a series in the request that is being collected, for an item of about so many bytes.
  std::uint32_t EntryFor(Ordinal ordinal, std::size_t bytes) {
    const auto known = known_.find(ordinal);
    if (known == known_.end()) std::abort();  // OnSeries comes first
    auto& [labels, entry] = known->second;
    ++items_;
    bytes_ += bytes;
    if (entry >= batch_.size() || batch_[entry].ordinal != ordinal) {
      entry = static_cast<std::uint32_t>(batch_.size());
      batch_.push_back({.ordinal = ordinal, .labels = labels});
      bytes_ += labels.size();
    }
    return entry;
  }

  Status MakeRoom() {
    return items_ >= options_.items_per_request || bytes_ >= options_.bytes_per_request ? Send(/*last=*/false) : Status::Ok();
  }
  // For a sample of time t: waits for the other sinks where they are too far behind.
  Status MakeRoom(Timestamp t) {
    if (Status s = MakeRoom(); !s.ok()) return s;
    if (t > horizon_) horizon_ = pace_->Horizon(pace_id_);
    if (t > horizon_) {
      if (Status s = Send(/*last=*/false); !s.ok()) return s;
      if (Status s = pace_->Await(pace_id_, t, cancel_); !s.ok()) return s;
    }
    if (t < oldest_) {
      oldest_ = t;
      pace_->Move(pace_id_, t);
    }
    return Status::Ok();
  }

  // Sends what is collected. With 2.0 a series without samples waits for the next request, once, but not for one after the last.
  Status Send(bool last) {
    sending_.swap(batch_);
    batch_.clear();
    items_ = bytes_ = 0;
    samples_.Group(sending_.size());
    histograms_.Group(sending_.size());
    exemplars_.Group(sending_.size());
    metadata_.Group(sending_.size());
    request_.clear();
    for (std::uint32_t i = 0; i < sending_.size(); ++i) {
      std::span<Sample> samples = samples_.Of(i);
      std::span<HistogramSample> histograms = histograms_.Of(i);
      std::span<Metadata> metadata = metadata_.Of(i);
      unflushed_.skipped += OrderByTime(&samples) + OrderByTime(&histograms);
      if (metadata.size() > 1) {
        unflushed_.skipped += metadata.size() - 1;  // replaced before it was sent
        metadata = metadata.last(1);
      }
      if (options_.http.version == RemoteWriteVersion::k2 && samples.empty() && histograms.empty()) {
        if (last || sending_[i].carried) {
          unflushed_.skipped += exemplars_.Of(i).size() + metadata.size();
        } else {
          Carry(sending_[i].ordinal, exemplars_.Of(i), metadata);
        }
        continue;
      }
      request_.push_back({sending_[i].labels, samples, histograms, exemplars_.Of(i), metadata});
    }
    oldest_ = kMaxTimestamp;
    return request_.empty() ? Status::Ok() : Deliver(request_, /*maybe_taken_before=*/false);
  }

  void Carry(Ordinal ordinal, std::span<Exemplar> exemplars, std::span<Metadata> metadata) {
    std::uint32_t entry = 0;
    for (Exemplar& e : exemplars) {
      entry = EntryFor(ordinal, BytesOf(e));
      exemplars_.Add(entry, std::move(e));
    }
    for (Metadata& m : metadata) {
      entry = EntryFor(ordinal, BytesOf(m));
      metadata_.Add(entry, std::move(m));
    }
    batch_[entry].carried = true;
  }

  // Halves share what they name with the whole: only what is refused is encoded again.
  Status Deliver(std::span<const RemoteWriteSeries> series, bool maybe_taken_before) {
    RemoteWriteAnswer answer;
    interop::EncodeRemoteWrite(options_.http.version, series, &message_);
    const Status status = client_->Send(message_, &answer);
    if (!status.ok() && !answer.content_refused()) return status;
    std::uint64_t items = 0;
    for (const RemoteWriteSeries& s : series) items += s.items();
    const RemoteWriteCounts counts = CountsOf(series);
    const bool counted = options_.http.version == RemoteWriteVersion::k2 && answer.written.has_value();
    if (status.ok() && !counted) return Took(items);
    if (counted && (status.ok() || answer.written->total() > 0)) {
      // The receiver says itself what it kept; metadata it does not count.
      const std::uint64_t missing = counts.total() - std::min(counts.total(), answer.written->total());
      if (Status s = Took(items - missing); !s.ok()) return s;
      return missing == 0 ? Status::Ok() : Refused(missing, status.ok() ? "written in part only" : status.message());
    }

    maybe_taken_before |= answer.maybe_written_before;
    if (items == 1) {
      std::string why = interop::LabelsOfRemoteWrite(series[0].labels).ToString() + ": " + status.message();
      if (maybe_taken_before) why += " (an attempt before that had no answer: it may have been taken then)";
      return Refused(1, why);
    }
    if (series.size() > 1) {
      const std::size_t half = series.size() / 2;
      if (Status s = Deliver(series.first(half), maybe_taken_before); !s.ok()) return s;
      return Deliver(series.subspan(half), maybe_taken_before);
    }
    const auto [first, second] = Halves(series[0]);
    if (Status s = Deliver({&first, 1}, maybe_taken_before); !s.ok()) return s;
    return Deliver({&second, 1}, maybe_taken_before);
  }

  Status Took(std::uint64_t items) {
    unflushed_.sent += items;
    if (items > 0) refused_in_a_row_ = 0;
    return Status::Ok();
  }
  Status Refused(std::uint64_t items, const std::string& why) {
    unflushed_.Refuse(items, why);
    refused_in_a_row_ += items;
    if (refused_in_a_row_ < options_.refused_in_a_row_max) return Status::Ok();
    return FailedPrecondition("the last " + std::to_string(refused_in_a_row_) + " items were refused, all of them; last: " + why);
  }

  const RemoteWriteTargetOptions& options_;
  const std::unique_ptr<RemoteWriteClient> client_;
  LogPace* const pace_;
  const std::size_t pace_id_;
  const std::atomic<bool>* const cancel_;
  Timestamp horizon_ = kMinTimestamp;  // as pace_ said last
  Timestamp oldest_ = kMaxTimestamp;   // of the samples of the request that is being collected
  absl::flat_hash_map<Ordinal, Known> known_;
  ByteArena labels_;
  std::string scratch_;

  // The request that is being collected: an entry a series.
  std::vector<Entry> batch_;
  GroupedItems<Sample> samples_;
  GroupedItems<HistogramSample> histograms_;
  GroupedItems<Exemplar> exemplars_;
  GroupedItems<Metadata> metadata_;
  std::size_t items_ = 0;
  std::size_t bytes_ = 0;  // of the message, about

  // The one that is sent. Memory is kept from one to the next.
  std::vector<Entry> sending_;
  std::vector<RemoteWriteSeries> request_;
  std::string message_;

  Delivered unflushed_;
  std::uint64_t refused_in_a_row_ = 0;
};

class RemoteWriteTarget final : public RecordTarget {
 public:
  RemoteWriteTarget(RemoteWriteTargetOptions options, const std::atomic<bool>* cancel, interop::RemoteWriteHooks hooks)
      : options_(std::move(options)), cancel_(cancel), hooks_(std::move(hooks)) {}

  // Also finds out whether the options are of use.
  Status Prepare() {
    if (options_.items_per_request == 0) return InvalidArgument("a request holds at least one sample");
    auto client = RemoteWriteClient::Create(options_.http, hooks_, cancel_);
    if (client.ok()) name_ = "remote-write:" + (*client)->shown_url();
    return client.status();
  }

  std::string name() const override { return name_; }
  bool sinks_move_together() const override { return true; }
  void ExpectSinks(std::size_t sinks) override { pace_.Expect(sinks); }
  Status Open(std::string_view) override { return Status::Ok(); }
  Result<std::unique_ptr<RecordSink>> NewSink(ShardId) override {
    const std::size_t id = pace_.Enter();
    auto client = RemoteWriteClient::Create(options_.http, hooks_, cancel_);
    if (!client.ok()) {
      pace_.Leave(id);
      return client.status();
    }
    return std::unique_ptr<RecordSink>(std::make_unique<RemoteWriteSink>(options_, std::move(*client), &pace_, id, cancel_));
  }
  // What the receiver has answered is its own to keep.
  Status Sync(std::string* position) override {
    position->clear();
    return Status::Ok();
  }
  Status Close() override { return Status::Ok(); }

 private:
  const RemoteWriteTargetOptions options_;
  const std::atomic<bool>* const cancel_;
  const interop::RemoteWriteHooks hooks_;
  std::string name_;
  LogPace pace_;
};

}  // namespace

Result<std::unique_ptr<RecordTarget>> NewRemoteWriteTarget(RemoteWriteTargetOptions options, const std::atomic<bool>* cancel,
                                                           interop::RemoteWriteHooks hooks) {
  auto target = std::make_unique<RemoteWriteTarget>(std::move(options), cancel, std::move(hooks));
  if (Status s = target->Prepare(); !s.ok()) return s;
  return std::unique_ptr<RecordTarget>(std::move(target));
}

}  // namespace chronolith::ops

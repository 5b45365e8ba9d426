#include "ops/sink_remote_write.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "ops/log_pace.h"

namespace chronolith::ops {
namespace {

using interop::CountsOf;
using interop::RemoteWriteAnswer;
using interop::RemoteWriteClient;
using interop::RemoteWriteCounts;
using interop::RemoteWriteVersion;

// What an entry adds to a message besides its strings, about.
constexpr std::size_t kSampleBytes = 20;

std::uint64_t ItemsOf(const TimeSeries& s) {
  return s.samples.size() + s.histograms.size() + s.exemplars.size() + s.metadata.size();
}
std::uint64_t ItemsOf(std::span<const TimeSeries> series) {
  std::uint64_t items = 0;
  for (const TimeSeries& s : series) items += ItemsOf(s);
  return items;
}

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
std::pair<TimeSeries, TimeSeries> Halves(const TimeSeries& s) {
  std::pair<TimeSeries, TimeSeries> halves{{.labels = s.labels}, {.labels = s.labels}};
  std::uint64_t left = ItemsOf(s) / 2;
  const auto divide = [&](const auto& items, auto* first, auto* second) {
    const auto middle = items.begin() + static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(left, items.size()));
    left -= static_cast<std::uint64_t>(middle - items.begin());
    first->assign(items.begin(), middle);
    second->assign(middle, items.end());
  };
  divide(s.samples, &halves.first.samples, &halves.second.samples);
  divide(s.histograms, &halves.first.histograms, &halves.second.histograms);
  divide(s.exemplars, &halves.first.exemplars, &halves.second.exemplars);
  divide(s.metadata, &halves.first.metadata, &halves.second.metadata);
  return halves;
}

// Sorts by time; of several items of one time the last stays. Returns how many went.
template <typename Item>
std::uint64_t Order(std::vector<Item>* items) {
  const auto earlier = [](const Item& a, const Item& b) { return a.timestamp < b.timestamp; };
  if (std::adjacent_find(items->begin(), items->end(), [](const Item& a, const Item& b) { return a.timestamp >= b.timestamp; }) ==
      items->end()) {
    return 0;
  }
  std::stable_sort(items->begin(), items->end(), earlier);
  // std::unique keeps the first of equals: of the reverse, that is the last.
  const auto gone =
      std::unique(items->rbegin(), items->rend(), [](const Item& a, const Item& b) { return a.timestamp == b.timestamp; });
  const auto n = items->rend() - gone;
  items->erase(items->begin(), items->begin() + n);
  return static_cast<std::uint64_t>(n);
}

class RemoteWriteSink final : public RecordSink {
 public:
  RemoteWriteSink(const RemoteWriteTargetOptions& options, std::unique_ptr<RemoteWriteClient> client, LogPace* pace,
                  std::size_t pace_id, const std::atomic<bool>* cancel)
      : options_(options), client_(std::move(client)), pace_(pace), pace_id_(pace_id), cancel_(cancel) {}
  ~RemoteWriteSink() override { pace_->Leave(pace_id_); }

  Status OnSeries(const RecordPlace&, std::span<const SeriesEntry> series) override {
    for (const SeriesEntry& s : series) {
      labels_.insert_or_assign(s.ordinal, Known{*s.labels, s.labels->encoded().size() + 4 * s.labels->size()});
    }
    return Status::Ok();
  }
  void OnForgetSeries() override { labels_.clear(); }

  Status OnSamples(const RecordPlace&, std::span<const SampleEntry> samples) override {
    for (const SampleEntry& s : samples) {
      if (Status status = MakeRoom(s.timestamp); !status.ok()) return status;
      Add(s.ordinal, kSampleBytes)->samples.push_back({s.timestamp, s.value});
    }
    return Status::Ok();
  }
  Status OnHistograms(const RecordPlace&, std::span<const HistogramEntry> histograms) override {
    for (const HistogramEntry& h : histograms) {
      if (Status status = MakeRoom(h.sample->timestamp); !status.ok()) return status;
      Add(h.ordinal, BytesOf(h.sample->histogram))->histograms.push_back(*h.sample);
    }
    return Status::Ok();
  }
  Status OnExemplars(const RecordPlace&, std::span<const ExemplarEntry> exemplars) override {
    for (const ExemplarEntry& e : exemplars) {
      if (Status status = MakeRoom(); !status.ok()) return status;
      Add(e.ordinal, kSampleBytes + e.exemplar->labels.encoded().size())->exemplars.push_back(*e.exemplar);
    }
    return Status::Ok();
  }
  Status OnMetadata(const RecordPlace&, std::span<const MetadataEntry> metadata) override {
    for (const MetadataEntry& m : metadata) {
      if (Status status = MakeRoom(); !status.ok()) return status;
      TimeSeries* const s = Add(m.ordinal, kSampleBytes + m.metadata->help.size() + m.metadata->unit.size());
      unflushed_.skipped += s->metadata.size();  // replaced before it was sent
      s->metadata.assign(1, *m.metadata);
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
    Labels labels;
    std::size_t bytes = 0;  // in a message, about
  };
  struct Note {
    Ordinal ordinal = 0;
    bool carried = false;  // from the request before: it had no sample there
  };

  // The entry of a series in the request that is being collected.
  TimeSeries* Add(Ordinal ordinal, std::size_t bytes) {
    ++items_;
    bytes_ += bytes;
    const auto [at, added] = index_.try_emplace(ordinal, batch_.size());
    if (added) {
      const auto labels = labels_.find(ordinal);
      if (labels == labels_.end()) std::abort();  // OnSeries comes first
      batch_.push_back({.labels = labels->second.labels});
      notes_.push_back({.ordinal = ordinal});
      bytes_ += labels->second.bytes;
    }
    return &batch_[at->second];
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
    std::vector<TimeSeries> batch = std::exchange(batch_, {});
    const std::vector<Note> notes = std::exchange(notes_, {});
    index_.clear();
    items_ = bytes_ = 0;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      TimeSeries& s = batch[i];
      unflushed_.skipped += Order(&s.samples) + Order(&s.histograms);
      if (options_.http.version == RemoteWriteVersion::k2 && s.samples.empty() && s.histograms.empty()) {
        if (last || notes[i].carried) {
          unflushed_.skipped += ItemsOf(s);
        } else {
          Carry(notes[i].ordinal, std::move(s));
        }
        continue;
      }
      if (kept != i) batch[kept] = std::move(s);
      ++kept;
    }
    batch.resize(kept);
    oldest_ = kMaxTimestamp;
    return batch.empty() ? Status::Ok() : Deliver(batch, /*maybe_taken_before=*/false);
  }

  void Carry(Ordinal ordinal, TimeSeries series) {
    index_.emplace(ordinal, batch_.size());
    notes_.push_back({.ordinal = ordinal, .carried = true});
    items_ += ItemsOf(series);
    for (const Exemplar& e : series.exemplars) bytes_ += kSampleBytes + e.labels.encoded().size();
    batch_.push_back(std::move(series));
  }

  Status Deliver(std::span<const TimeSeries> series, bool maybe_taken_before) {
    RemoteWriteAnswer answer;
    const Status status = client_->Send(EncodeRemoteWrite(options_.http.version, series), &answer);
    if (!status.ok() && !answer.content_refused()) return status;
    const std::uint64_t items = ItemsOf(series);
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
      std::string why = series[0].labels.ToString() + ": " + status.message();
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
  absl::flat_hash_map<Ordinal, Known> labels_;

  // The request that is being collected: one entry a series, with its note, found by its ordinal.
  std::vector<TimeSeries> batch_;
  std::vector<Note> notes_;
  absl::flat_hash_map<Ordinal, std::size_t> index_;
  std::size_t items_ = 0;
  std::size_t bytes_ = 0;

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

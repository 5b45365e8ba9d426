// One request being taken: walks through its bytes and appends what it finds.
#ifndef CHRONOLITH_INTEROP_OTLP_SESSION_H_
#define CHRONOLITH_INTEROP_OTLP_SESSION_H_

#include <google/protobuf/arena.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/storage.h"
#include "interop/otlp/contexts.h"
#include "interop/otlp/metrics.pb.h"
#include "interop/otlp/metrics_writer.h"
#include "interop/otlp/rejections.h"
#include "interop/proto_reader.h"

namespace chronolith::interop::otlp {

inline Status Malformed(const char* what) { return InvalidArgument(std::string("malformed ") + what); }

// The attributes of a point, which are its fields `number`, each with its length.
void AppendAttributes(std::string_view point, std::uint32_t number, std::string* identity);

// Reused for one request after the other. Thread safety: one thread at a time.
class Session {
 public:
  Session(Storage* store, Contexts* contexts);

  // Points with a timestamp beyond `newest` are rejected. `share`: as MetricsWriter::Write.
  MetricsWritten Write(std::string_view request, const WriteOptions& options, Timestamp newest, MemoryShare* share);
  // What it keeps for the next request, about.
  std::size_t held_bytes() const noexcept {
    return sizeof(*this) + calls_.capacity() * (sizeof(calls_[0]) + kSampleBytes) + learned_.capacity() * sizeof(Learned);
  }

 private:
  static constexpr std::size_t kPointBytesMax = 256 << 10;
  static constexpr std::size_t kPendingMax = 1024;
  // What is collected before it is committed.
  static constexpr std::uint64_t kCollectedMax = 4 << 20;
  static constexpr std::uint64_t kCollectedStep = 256 << 10;
  // What the appender takes for one, about, texts and buckets apart.
  static constexpr std::uint64_t kSampleBytes = 32;
  static constexpr std::uint64_t kItemBytes = 512;
  static constexpr std::uint32_t kNoPoint = 0xffffffff;

  // A number point whose series is not known yet.
  struct Pending {
    std::uint64_t parent = 0;
    std::string identity;
    Metadata metadata;
    Timestamp time = 0;
    double value = 0;
    std::vector<Exemplar> exemplars;
    std::uint32_t point = 0;
  };
  // Of the caches: a series, or those of a histogram or summary, whose metadata is written with the next commit.
  struct Learned {
    bool group = false;
    std::uint64_t parent = 0;
    std::string identity;
  };
  void Reset();
  void LearnSeries(std::uint64_t parent, std::string identity, SeriesRef ref);
  void LearnGroup(std::uint64_t parent, std::string identity, const SeriesRefs& refs);
  // The commit has failed: who sends these series again must write their metadata again.
  void Unlearn();
  // These return why the request as a whole is refused.
  Status TakeRequest(std::string_view bytes);
  Status TakeResourceMetrics(std::string_view bytes);
  Status TakeScopeMetrics(const ResourceContext& resource, std::string_view bytes);
  Status TakeMetric(const ScopeContext& scope, std::string_view bytes);
  Status TakePoints(MetricKind kind, std::string_view data);
  Status TakePoint(MetricKind kind, std::string_view bytes);
  Status TakeNumber(std::string_view bytes);
  Status TakeHistogram(std::string_view bytes);
  Status TakeExponential(std::string_view bytes);
  Status TakeSummary(std::string_view bytes);
  Status TakeTargetInfo(const ResourceContext& resource);

  Status AddPending(std::string_view bytes, std::string_view identity, Pending pending);
  Status ResolvePending();
  // `n` series with labels labels_of(i), remembered for `identity`. Null: the point was rejected.
  Result<SeriesRefs> CreateGroup(std::size_t n, const std::function<Labels(std::size_t)>& labels_of, std::string_view identity);
  // The labels of the point's attributes and of what stands above it, named `name`; `extra` is le or quantile, or empty.
  Labels LabelsOf(const Pairs& attributes, std::string_view suffix, std::string_view extra = {},
                  std::string extra_value = {}) const;

  bool TimeOk(std::uint64_t unix_nano, Timestamp* time);
  void Reject(std::string_view reason);
  // Sorts what the store refuses: ok and rejected for good, or the status that fails the request.
  Status Refused(const Status& reason);
  // `time`: of those that have none.
  std::vector<Exemplar> ExemplarsOf(const google::protobuf::RepeatedPtrField<pb::Exemplar>& exemplars, Timestamp time);

  void Append(SeriesRef ref, Timestamp time, double value) {
    appender_->Append(ref, time, value);
    calls_.push_back(point_);
    collected_ += kSampleBytes;
  }
  void AppendExemplar(SeriesRef ref, Exemplar exemplar);
  void SetMetadata(SeriesRef ref, Metadata metadata);
  void AppendExemplars(SeriesRef ref, std::vector<Exemplar> exemplars);
  // Reserves memory for what was collected; commits it where it is much. Cheap; after each point.
  Status CountCollected() { return collected_ <= counted_ ? Status::Ok() : ReserveOrCommit(); }
  Status ReserveOrCommit();
  Status Commit(CommitToken* token);

  Contexts* const contexts_;
  const std::unique_ptr<Appender> appender_;
  std::array<char, 32 << 10> arena_block_;
  google::protobuf::Arena arena_;

  // Of the request at hand.
  const WriteOptions* options_ = nullptr;
  MemoryShare* share_ = nullptr;
  std::uint64_t others_ = 0;     // of the share, what the caller holds
  std::uint64_t collected_ = 0;  // bytes, about, since the last commit
  std::uint64_t counted_ = 0;    // reserved for them
  Rejections rejections_;
  Timestamp newest_ = kMaxTimestamp;
  std::uint64_t points_ = 0;
  std::uint32_t point_ = 0;           // index of the one at hand
  std::vector<std::uint32_t> calls_;  // call of the appender -> index of the point; kNoPoint: of none
  std::vector<Pending> pending_;
  std::vector<Labels> pending_labels_;
  std::vector<Learned> learned_;
  bool stale_reference_ = false;
  // Of the resource and the metric at hand.
  Timestamp latest_ = kMinTimestamp;
  std::shared_ptr<const MetricContext> metric_;
  std::string refusal_;   // not empty: why no point of the metric is taken
  std::string identity_;  // scratch
};

}  // namespace chronolith::interop::otlp

#endif  // CHRONOLITH_INTEROP_OTLP_SESSION_H_

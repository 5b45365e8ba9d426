// Reads the messages of Prometheus remote write, 1.0 and 2.0, in one pass and without an object for each field: labels stay the
// bytes that they are in the message, so that a receiver can look them up as a whole.
//
// Unknown fields are passed over, as Protocol Buffers wants it; what is cut off, or of another type than its field, is an error.
#ifndef CHRONOLITH_INTEROP_REMOTE_WRITE_DECODE_H_
#define CHRONOLITH_INTEROP_REMOTE_WRITE_DECODE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/status.h"
#include "chronolith/types.h"
#include "interop/remote_write_message.h"

namespace chronolith::interop {

// Some series of a message. Views point into the message, or into `arena`. Of a series whose samples and items do not all fit the
// rest comes in the next batches, with the same labels.
struct RemoteWriteBatch {
  enum class ItemKind : std::uint8_t { kHistogram, kExemplar, kMetadata };
  struct Item {
    ItemKind kind = ItemKind::kHistogram;
    std::string_view payload;  // for the Decode functions below
  };
  struct Series {
    const char* labels = nullptr;  // null: in the arena, at `labels_at`
    std::size_t labels_at = 0;
    std::uint32_t labels_bytes = 0;
    std::uint32_t samples_end = 0;  // of `samples`; they begin where those of the series before end
    std::uint32_t items_end = 0;
  };

  std::vector<Series> series;
  std::vector<Sample> samples;
  std::vector<Item> items;
  std::vector<std::string_view> metadata;  // of families, 1.0 only: for DecodeMetadata1
  std::string arena;
  std::size_t label_bytes = 0;  // of all series
  std::size_t item_bytes = 0;   // of payloads

  // The same bytes for the same labels in the same order; of 1.0 those of the message, of 2.0 those of Labels::encoded().
  std::string_view LabelsOf(const Series& s) const {
    return {s.labels != nullptr ? s.labels : arena.data() + s.labels_at, s.labels_bytes};
  }
  void Clear();
  bool empty() const { return series.empty() && metadata.empty(); }
};

// Thread safety: one thread at a time. `message` must outlive it and the batches.
class RemoteWriteDecoder {
 public:
  // A batch ends where it reaches one of these: what is made of it (a histogram of 200 bytes of one of 2) is bounded by them.
  static constexpr std::size_t kBatchSeries = 1 << 14;
  static constexpr std::size_t kBatchSamples = 1 << 16;
  static constexpr std::size_t kBatchItems = 1 << 13;      // and metadata of families
  static constexpr std::size_t kBatchBytes = 4 << 20;      // of labels
  static constexpr std::size_t kBatchItemBytes = 1 << 20;  // of the payloads of items
  // A series is taken as a whole where it is no longer than this, and may reach over the end of a batch by as much.
  static constexpr std::size_t kWholeSeriesBytes = 32 << 10;
  // Labels of one series; in 2.0 a reference of one byte may stand for any number of them.
  static constexpr std::size_t kLabelsBytesMax = 256 << 10;
  // More is refused: each takes 16 bytes.
  static constexpr std::size_t kSymbolsMax = 1 << 21;
  // All that the references of a message stand for, unless the constructor is told otherwise.
  static constexpr std::uint64_t kExpandedBytesMax = 128 << 20;

  RemoteWriteDecoder(RemoteWriteVersion version, std::string_view message, std::uint64_t expanded_bytes_max = kExpandedBytesMax);

  // Before the first Next: the symbols of 2.0. kInvalidArgument.
  Status Begin();
  // Replaces what is in *batch; empty at the end. kInvalidArgument: what is malformed, and where.
  Status Next(RemoteWriteBatch* batch);

  // Counts what an item's references stood for, as Next does for the labels of series. kInvalidArgument: the message's bound.
  Status Expand(std::uint64_t bytes);

  const std::vector<std::string_view>& symbols() const { return symbols_; }

 private:
  // A long series, which is checked as a whole before any of it is taken.
  struct Rest {
    std::string labels;  // of the batches behind the first
    const char* at = nullptr;
    const char* end = nullptr;
  };

  Status TakeSeries(std::string_view bytes, RemoteWriteBatch* batch);
  // `labels_only`: samples and items are checked and left alone.
  Status Series1(const char* at, const char* end, bool labels_only, RemoteWriteBatch* batch);
  Status Series2(const char* at, const char* end, bool labels_only, RemoteWriteBatch* batch);
  // Samples and items of rest_ for the last series of the batch, as many as it takes.
  void TakeRest(RemoteWriteBatch* batch);
  void TakeRestLabels(RemoteWriteBatch* batch);
  Status Malformed(const char* at, std::string_view what) const;

  const RemoteWriteVersion version_;
  const std::string_view message_;
  const std::uint64_t expanded_bytes_max_;
  std::uint64_t expanded_bytes_ = 0;
  const char* at_;
  Rest rest_;
  std::vector<std::string_view> symbols_;
};

// The label set of a batch's series, sorted, without labels of empty value. kInvalidArgument: malformed, too long, a name twice, or
// without a metric name.
Status NormalizeLabels(RemoteWriteVersion version, std::string_view labels, std::string* encoded);

// What the store takes of an exemplar's labels, of unit and help, and more than it takes of a histogram: what is longer is refused
// before it is copied.
inline constexpr std::size_t kHistogramBytesMax = 256 << 10;
inline constexpr std::size_t kExemplarLabelsMax = 1024;
inline constexpr std::size_t kMetadataTextMax = 16 << 10;

// Payloads of items. kInvalidArgument. `symbols` of 1.0: not looked at.
Status DecodeHistogram(std::string_view payload, HistogramSample* histogram);
Status DecodeExemplar(RemoteWriteVersion version, std::string_view payload, const std::vector<std::string_view>& symbols,
                      Exemplar* exemplar);
Status DecodeMetadata1(std::string_view payload, std::string* family, Metadata* metadata);
Status DecodeMetadata2(std::string_view payload, const std::vector<std::string_view>& symbols, Metadata* metadata);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_REMOTE_WRITE_DECODE_H_

// Records of the write-ahead log, and the rows of a `wal.<k>` family that carry them.
//
// A record as it lies in a ring and in a row's payload, little-endian:
//   u16 length of what follows | u32 CRC32C of what follows it | u8 type | u8 version (1) | body
// Bodies (varint: LEB128; zigzag: signed):
//   kEpoch          varint epoch, varint end            the first record of each epoch; `end`: last LSN of the epoch before
//   kSeries         varint first ordinal, varint n, n x (varint length, encoded labels)         ordinals are consecutive
//   kSamples        varint n, u8 flags, varint first ordinal, zigzag first timestamp,
//                   unless kConsecutive: (n-1) x zigzag ordinal step
//                   unless kSameTime:    (n-1) x zigzag of the timestamp's delta of deltas (the first delta counts from 0)
//                   values by flags: kValuesRaw n x f64; kValuesSame f64; kValuesInt zigzag first, (n-1) x zigzag delta
//   kItems          repeated: u8 item type, varint ordinal, varint length, bytes      histograms, exemplars, metadata
//   kDelete         zigzag start, zigzag end, portable roaring bitmap of ordinals
//   kFloor          zigzag floor
//   kRemoveSeries   varint n, n x varint ordinal
//
// A row: key 'r' | big-endian u64 first LSN; its records have consecutive LSNs. Value:
//   u8 version (1) | u8 flags (1: payload is LZ4 block) | varint epoch | varint group | varint last synced group |
//   zigzag write time ms | varint records | varint payload bytes before compression | payload | u32 CRC32C
// The CRC covers the shard number (u32), the key and the value before it, so a row that strays is noticed.
// `group` numbers the group commits of this epoch from 1, of which some carry no rows; "last synced group", one that does, tells a
// reader which of them power loss cannot take.
//
// The state row: key 's'. Value: u8 version (1) | varint trimmed_to | u32 CRC32C (seeded the same way).
#ifndef CHRONOLITH_FORMAT_WAL_RECORD_H_
#define CHRONOLITH_FORMAT_WAL_RECORD_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "chronolith/types.h"
#include "format/series_id.h"

namespace chronolith {

enum class RecordType : std::uint8_t {
  kEpoch = 1,
  kSeries = 2,
  kSamples = 3,
  kItems = 4,
  kDelete = 5,
  kFloor = 6,
  kRemoveSeries = 7,
};

enum class ItemType : std::uint8_t { kHistogram = 1, kExemplar = 2, kMetadata = 3 };

inline constexpr std::size_t kRecordHeaderBytes = 8;
inline constexpr std::size_t kRecordBytesMax = 48 << 10;       // a row (engine limit 64 KiB) takes at least one
inline constexpr std::size_t kLabelSetBytesMax = kRecordBytesMax - 64;  // encoded; writes refuse more: a record takes at least one
inline constexpr std::size_t kSamplesPerRecordMax = 1700;       // times kSampleBytesMax stays below kRecordBytesMax
inline constexpr std::size_t kSampleBytesMax = 8 + 10 + 10;    // value, timestamp, ordinal: the most that a sample takes in a record
inline constexpr std::size_t kSamplesHeaderBytesMax = kRecordHeaderBytes + 40;

// One float sample on its way to a shard.
struct SampleEntry {
  Ordinal ordinal = 0;
  std::uint32_t index = 0;  // in the caller's batch; not persisted
  Timestamp timestamp = 0;
  double value = 0;
};

// ---- Encoding: each appends one whole record to `out` ----
// At most kSamplesPerRecordMax entries, and at least one.
void AppendSamplesRecord(std::span<const SampleEntry> samples, std::string* out);
// `out` receives several records where one would pass kRecordBytesMax; returns how many. Each label set: at most kLabelSetBytesMax.
std::size_t AppendSeriesRecords(Ordinal first, std::span<const std::string_view> labels, std::string* out);
void AppendEpochRecord(std::uint64_t epoch, Lsn previous_end, std::string* out);
void AppendDeleteRecord(TimeRange range, std::string_view bitmap, std::string* out);
void AppendFloorRecord(Timestamp floor, std::string* out);
void AppendRemoveSeriesRecord(std::span<const Ordinal> ordinals, std::string* out);

// Collects items into records; call Finish once.
class ItemsRecordBuilder {
 public:
  explicit ItemsRecordBuilder(std::string* out) : out_(out) {}
  // `bytes` at most kRecordBytesMax - 32.
  void Add(ItemType type, Ordinal ordinal, std::string_view bytes);
  std::size_t Finish();  // number of records written

 private:
  void Cut();
  std::string* out_;
  std::size_t start_ = std::string::npos;
  std::size_t records_ = 0;
};

// ---- Decoding ----
struct RecordView {
  RecordType type = RecordType::kEpoch;
  std::string_view body;
};

struct EpochRecord {
  std::uint64_t epoch = 0;
  Lsn previous_end = 0;
};
struct SeriesRecordEntry {
  Ordinal ordinal = 0;
  std::string_view labels;
};
struct ItemEntry {
  ItemType type = ItemType::kHistogram;
  Ordinal ordinal = 0;
  std::string_view bytes;
};
struct DeleteRecord {
  TimeRange range;
  std::string_view bitmap;
};

// kDataLoss where the bytes are malformed, kFailedPrecondition where type or version is newer than this build.
// Takes the next record off the front of `payload`, its checksum verified.
Status NextRecord(std::string_view* payload, RecordView* record);
Status DecodeEpoch(std::string_view body, EpochRecord* record);
Status DecodeSeries(std::string_view body, std::vector<SeriesRecordEntry>* entries);
Status DecodeSamples(std::string_view body, std::vector<SampleEntry>* samples);
Status DecodeItems(std::string_view body, std::vector<ItemEntry>* items);
Status DecodeDelete(std::string_view body, DeleteRecord* record);
Status DecodeFloor(std::string_view body, Timestamp* floor);
Status DecodeRemoveSeries(std::string_view body, std::vector<Ordinal>* ordinals);

// ---- Rows ----
struct WalRowHeader {
  Lsn first_lsn = 0;
  std::uint64_t epoch = 0;
  std::uint64_t group = 0;
  std::uint64_t synced_group = 0;
  std::int64_t write_time_ms = 0;
  std::uint64_t records = 0;
};

inline constexpr char kWalRowPrefix = 'r';
inline constexpr std::string_view kWalStateKey = "s";
inline constexpr std::size_t kWalKeyBytes = 9;
void StoreWalKey(Lsn first_lsn, char* key);  // kWalKeyBytes
std::string WalKey(Lsn first_lsn);

// Compresses payloads of one committer; holds LZ4's working memory. Thread safety: one thread at a time.
class WalRowEncoder {
 public:
  WalRowEncoder();
  // Appends the value of a row to `out`. `compress`: try LZ4 and keep it where it saves an eighth.
  // Returns whether the payload was stored compressed.
  bool Append(ShardId shard, const WalRowHeader& header, std::string_view payload, bool compress, std::string* out);

 private:
  std::vector<char> state_;
  std::string scratch_;
};

// `payload` is a view into `value`, or into `scratch` where the row is compressed.
Status DecodeWalRow(ShardId shard, std::string_view key, std::string_view value, WalRowHeader* header, std::string_view* payload,
                    std::string* scratch);

std::string EncodeWalState(ShardId shard, Lsn trimmed_to);
Status DecodeWalState(ShardId shard, std::string_view value, Lsn* trimmed_to);

}  // namespace chronolith

#endif  // CHRONOLITH_FORMAT_WAL_RECORD_H_

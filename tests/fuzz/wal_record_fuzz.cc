// Any bytes as a log: as a row's payload, as one record's body of each type, and as a row. What decodes also encodes and decodes
// again; nothing is read outside of the bytes.
#include <bit>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/coding.h"
#include "format/wal_record.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

constexpr ShardId kShard = 1;

// `body` as a record of `type`, its length and checksum right: mutations get past the checksum.
std::string Sealed(RecordType type, std::string_view body) {
  std::string covered{static_cast<char>(type), '\1'};
  covered.append(body);
  std::string bytes(2, '\0');
  StoreFixed(bytes.data(), static_cast<std::uint16_t>(covered.size() + 4));
  PutFixed32(&bytes, Crc32c(covered));
  return bytes + covered;
}

RecordView Only(const std::string& bytes) {
  std::string_view payload = bytes;
  RecordView record;
  FUZZ_CHECK(NextRecord(&payload, &record).ok() && payload.empty());
  return record;
}

void CheckSamples(std::string_view body) {
  std::vector<SampleEntry> samples;
  if (!DecodeSamples(body, &samples).ok()) return;
  FUZZ_CHECK(!samples.empty() && samples.size() <= kSamplesPerRecordMax);
  std::string again;
  AppendSamplesRecord(samples, &again);
  FUZZ_CHECK(again.size() <= kRecordBytesMax);
  std::vector<SampleEntry> decoded;
  FUZZ_CHECK(DecodeSamples(Only(again).body, &decoded).ok() && decoded.size() == samples.size());
  for (std::size_t i = 0; i < samples.size(); ++i) {
    FUZZ_CHECK(decoded[i].ordinal == samples[i].ordinal && decoded[i].timestamp == samples[i].timestamp);
    FUZZ_CHECK(std::bit_cast<std::uint64_t>(decoded[i].value) == std::bit_cast<std::uint64_t>(samples[i].value));
  }
}

void CheckSeries(std::string_view body) {
  std::vector<SeriesRecordEntry> entries;
  if (!DecodeSeries(body, &entries).ok() || entries.empty()) return;
  std::vector<std::string_view> labels;
  for (const SeriesRecordEntry& entry : entries) labels.push_back(entry.labels);
  FUZZ_CHECK(entries.back().ordinal == entries[0].ordinal + std::uint64_t{labels.size()} - 1);
  std::string again;
  const std::size_t records = AppendSeriesRecords(entries[0].ordinal, labels, &again);
  std::string_view payload = again;
  std::size_t at = 0;
  for (std::size_t r = 0; r < records; ++r) {
    RecordView record;
    std::vector<SeriesRecordEntry> decoded;
    FUZZ_CHECK(NextRecord(&payload, &record).ok() && DecodeSeries(record.body, &decoded).ok());
    for (const SeriesRecordEntry& entry : decoded) {
      FUZZ_CHECK(at < entries.size() && entry.ordinal == entries[at].ordinal && entry.labels == entries[at].labels);
      ++at;
    }
  }
  FUZZ_CHECK(payload.empty() && at == entries.size());
}

void CheckItems(std::string_view body) {
  std::vector<ItemEntry> items;
  if (!DecodeItems(body, &items).ok() || items.empty()) return;
  std::string again;
  ItemsRecordBuilder builder(&again);
  for (const ItemEntry& item : items) builder.Add(item.type, item.ordinal, item.bytes);
  if (builder.Finish() != 1) return;
  std::vector<ItemEntry> decoded;
  FUZZ_CHECK(DecodeItems(Only(again).body, &decoded).ok() && decoded.size() == items.size());
}

void CheckBody(RecordType type, std::string_view body) {
  const std::string bytes = Sealed(type, body);
  const RecordView record = Only(bytes);
  FUZZ_CHECK(record.type == type && record.body == body);
  EpochRecord epoch;
  DeleteRecord del;
  Timestamp floor = 0;
  std::vector<Ordinal> ordinals;
  switch (type) {
    case RecordType::kEpoch:
      (void)DecodeEpoch(record.body, &epoch);
      break;
    case RecordType::kSeries:
      CheckSeries(record.body);
      break;
    case RecordType::kSamples:
      CheckSamples(record.body);
      break;
    case RecordType::kItems:
      CheckItems(record.body);
      break;
    case RecordType::kDelete:
      (void)DecodeDelete(record.body, &del);
      break;
    case RecordType::kFloor:
      (void)DecodeFloor(record.body, &floor);
      break;
    case RecordType::kRemoveSeries:
      if (DecodeRemoveSeries(record.body, &ordinals).ok()) FUZZ_CHECK(ordinals.size() <= record.body.size());
      break;
  }
}

// `bytes` as the value of a row in front of its checksum.
void CheckRow(std::string_view bytes) {
  const std::string key = WalKey(7);
  char shard[4];
  StoreFixed(shard, kShard);
  std::string value(bytes);
  PutFixed32(&value, Crc32c(bytes, Crc32c(key, Crc32c({shard, sizeof(shard)}))));
  WalRowHeader header;
  std::string_view payload;
  std::string scratch;
  if (!DecodeWalRow(kShard, key, value, &header, &payload, &scratch).ok()) return;
  FUZZ_CHECK(header.first_lsn == 7 && payload.size() <= 1 << 20);
  std::string again;
  WalRowEncoder().Append(kShard, header, payload, true, &again);
  WalRowHeader header_again;
  std::string_view payload_again;
  std::string scratch_again;
  FUZZ_CHECK(DecodeWalRow(kShard, key, again, &header_again, &payload_again, &scratch_again).ok() && payload_again == payload);
  FUZZ_CHECK(header_again.epoch == header.epoch && header_again.group == header.group && header_again.records == header.records);
  RecordView record;
  while (!payload.empty() && NextRecord(&payload, &record).ok()) {
  }
}

}  // namespace

// The first byte chooses: 1..7 a body of that type, else a row.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes = FuzzBytes(data, size);
  if (bytes.size() > 60000) return 0;
  RecordView record;
  std::string_view payload = bytes;
  (void)NextRecord(&payload, &record);
  Lsn trimmed_to = 0;
  (void)DecodeWalState(kShard, bytes, &trimmed_to);
  if (bytes.empty()) return 0;
  const auto choice = static_cast<std::uint8_t>(bytes[0]);
  bytes.remove_prefix(1);
  if (choice >= 1 && choice <= 7) {
    CheckBody(static_cast<RecordType>(choice), bytes);
  } else {
    CheckRow(bytes);
  }
  return 0;
}

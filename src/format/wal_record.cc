#include "format/wal_record.h"

#include <lz4.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "base/checksum.h"
#include "base/coding.h"
#include "format/row_keys.h"

namespace chronolith {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kRowVersion = 1;
constexpr std::uint8_t kRowCompressed = 1;

// Flags of kSamples.
constexpr std::uint8_t kSameTime = 1;
constexpr std::uint8_t kConsecutive = 2;
constexpr std::uint8_t kValuesRaw = 0 << 2;
constexpr std::uint8_t kValuesSame = 1 << 2;
constexpr std::uint8_t kValuesInt = 2 << 2;
constexpr std::uint8_t kValuesMask = 3 << 2;

std::size_t BeginRecord(RecordType type, std::string* out) {
  const std::size_t start = out->size();
  out->append(6, '\0');
  out->push_back(static_cast<char>(type));
  out->push_back(static_cast<char>(kVersion));
  return start;
}

void SealRecordAt(char* start, std::size_t bytes) {
  StoreFixed(start, static_cast<std::uint16_t>(bytes - 2));
  StoreFixed(start + 2, Crc32c({start + 6, bytes - 6}));
}

void EndRecord(std::size_t start, std::string* out) { SealRecordAt(out->data() + start, out->size() - start); }

// Whole numbers that survive the round trip through int64 bit for bit (so not -0.0).
inline bool IsWhole(double value, std::int64_t* whole) {
  if (!(std::fabs(value) < 9007199254740992.0)) return false;
  *whole = static_cast<std::int64_t>(value);
  return std::bit_cast<std::uint64_t>(static_cast<double>(*whole)) == std::bit_cast<std::uint64_t>(value);
}

std::uint8_t ChooseValueCoding(std::span<const SampleEntry> samples) {
  const auto first = std::bit_cast<std::uint64_t>(samples[0].value);
  bool same = true;
  for (const SampleEntry& s : samples) {
    same = same && std::bit_cast<std::uint64_t>(s.value) == first;
    std::int64_t whole;
    if (!IsWhole(s.value, &whole)) {
      if (!same || samples.size() == 1) return kValuesRaw;
      for (const SampleEntry& other : samples) same = same && std::bit_cast<std::uint64_t>(other.value) == first;
      return same ? kValuesSame : kValuesRaw;
    }
  }
  return same && samples.size() > 1 ? kValuesSame : kValuesInt;
}

Status Malformed(const char* what) { return DataLoss(std::string("malformed log record: ") + what); }

std::uint32_t RowSeed(ShardId shard, std::string_view key) {
  char seed[4];
  StoreFixed(seed, shard);
  return Crc32c(key, Crc32c({seed, sizeof(seed)}));
}

}  // namespace

void AppendSamplesRecord(std::span<const SampleEntry> samples, std::string* out) {
  const std::size_t start = out->size();
  out->resize(start + kSamplesHeaderBytesMax + samples.size() * kSampleBytesMax);
  char* const record = out->data() + start;
  record[6] = static_cast<char>(RecordType::kSamples);
  record[7] = static_cast<char>(kVersion);
  char* p = EncodeVarint(record + kRecordHeaderBytes, samples.size());
  char* const flags_at = p++;
  p = EncodeVarint(p, samples[0].ordinal);
  p = EncodeVarint(p, ZigZag(samples[0].timestamp));

  bool same_time = true;
  bool consecutive = true;
  for (std::size_t i = 1; i < samples.size(); ++i) {
    same_time &= samples[i].timestamp == samples[0].timestamp;
    consecutive &= samples[i].ordinal == samples[i - 1].ordinal + std::uint64_t{1};  // 64 bits: 0 does not follow 2^32 - 1
  }
  if (!consecutive) {
    for (std::size_t i = 1; i < samples.size(); ++i) {
      p = EncodeVarint(p, ZigZag(static_cast<std::int64_t>(samples[i].ordinal) - static_cast<std::int64_t>(samples[i - 1].ordinal)));
    }
  }
  if (!same_time) {
    std::uint64_t last_delta = 0;  // unsigned: differences of any two timestamps wrap and unwrap
    for (std::size_t i = 1; i < samples.size(); ++i) {
      const std::uint64_t delta =
          static_cast<std::uint64_t>(samples[i].timestamp) - static_cast<std::uint64_t>(samples[i - 1].timestamp);
      p = EncodeVarint(p, ZigZag(static_cast<std::int64_t>(delta - last_delta)));
      last_delta = delta;
    }
  }
  const std::uint8_t coding = ChooseValueCoding(samples);
  if (coding == kValuesSame) {
    StoreFixed(p, samples[0].value);
    p += 8;
  } else if (coding == kValuesRaw) {
    for (const SampleEntry& s : samples) {
      StoreFixed(p, s.value);
      p += 8;
    }
  } else {
    std::int64_t last = 0;
    for (const SampleEntry& s : samples) {
      const auto whole = static_cast<std::int64_t>(s.value);
      p = EncodeVarint(p, ZigZag(whole - last));
      last = whole;
    }
  }
  *flags_at = static_cast<char>((same_time ? kSameTime : 0) | (consecutive ? kConsecutive : 0) | coding);
  const auto bytes = static_cast<std::size_t>(p - record);
  SealRecordAt(record, bytes);
  out->resize(start + bytes);
}

std::size_t AppendSeriesRecords(Ordinal first, std::span<const std::string_view> labels, std::string* out) {
  std::size_t records = 0;
  std::size_t i = 0;
  while (i < labels.size()) {
    std::size_t n = 0;
    std::size_t bytes = kRecordHeaderBytes + 2 * kMaxVarint64Bytes;
    while (i + n < labels.size() && (n == 0 || bytes + labels[i + n].size() + 5 <= kRecordBytesMax)) {
      bytes += labels[i + n].size() + 5;
      ++n;
    }
    const std::size_t start = BeginRecord(RecordType::kSeries, out);
    PutVarint(out, first + i);
    PutVarint(out, n);
    for (std::size_t k = 0; k < n; ++k) PutBytes(out, labels[i + k]);
    EndRecord(start, out);
    ++records;
    i += n;
  }
  return records;
}

void AppendEpochRecord(std::uint64_t epoch, Lsn previous_end, std::string* out) {
  const std::size_t start = BeginRecord(RecordType::kEpoch, out);
  PutVarint(out, epoch);
  PutVarint(out, previous_end);
  EndRecord(start, out);
}

void AppendDeleteRecord(TimeRange range, std::string_view bitmap, std::string* out) {
  const std::size_t start = BeginRecord(RecordType::kDelete, out);
  PutZigZag(out, range.start);
  PutZigZag(out, range.end);
  out->append(bitmap);
  EndRecord(start, out);
}

void AppendFloorRecord(Timestamp floor, std::string* out) {
  const std::size_t start = BeginRecord(RecordType::kFloor, out);
  PutZigZag(out, floor);
  EndRecord(start, out);
}

void AppendRemoveSeriesRecord(std::span<const Ordinal> ordinals, std::string* out) {
  const std::size_t start = BeginRecord(RecordType::kRemoveSeries, out);
  PutVarint(out, ordinals.size());
  for (const Ordinal ordinal : ordinals) PutVarint(out, ordinal);
  EndRecord(start, out);
}

void ItemsRecordBuilder::Add(ItemType type, Ordinal ordinal, std::string_view bytes) {
  if (start_ != std::string::npos && out_->size() - start_ + bytes.size() + 16 > kRecordBytesMax) Cut();
  if (start_ == std::string::npos) start_ = BeginRecord(RecordType::kItems, out_);
  out_->push_back(static_cast<char>(type));
  PutVarint(out_, ordinal);
  PutBytes(out_, bytes);
}

void ItemsRecordBuilder::Cut() {
  EndRecord(start_, out_);
  start_ = std::string::npos;
  ++records_;
}

std::size_t ItemsRecordBuilder::Finish() {
  if (start_ != std::string::npos) Cut();
  return records_;
}

Status NextRecord(std::string_view* payload, RecordView* record) {
  if (payload->size() < kRecordHeaderBytes) return Malformed("cut off in its header");
  const std::size_t bytes = LoadFixed<std::uint16_t>(payload->data()) + std::size_t{2};
  if (bytes < kRecordHeaderBytes || bytes > payload->size()) return Malformed("length beyond its row");
  const char* p = payload->data();
  if (Crc32c({p + 6, bytes - 6}) != LoadFixed<std::uint32_t>(p + 2)) return DataLoss("log record has a wrong checksum");
  const auto type = static_cast<std::uint8_t>(p[6]);
  const auto version = static_cast<std::uint8_t>(p[7]);
  if (type < static_cast<std::uint8_t>(RecordType::kEpoch) || type > static_cast<std::uint8_t>(RecordType::kRemoveSeries) ||
      version != kVersion) {
    return FailedPrecondition("log record of type " + std::to_string(type) + " version " + std::to_string(version) +
                              " was written by a newer version of Chronolith");
  }
  record->type = static_cast<RecordType>(type);
  record->body = payload->substr(kRecordHeaderBytes, bytes - kRecordHeaderBytes);
  payload->remove_prefix(bytes);
  return Status::Ok();
}

Status DecodeEpoch(std::string_view body, EpochRecord* record) {
  ByteReader in(body);
  record->epoch = in.Varint();
  record->previous_end = in.Varint();
  return in.AtEnd() ? Status::Ok() : Malformed("epoch");
}

Status DecodeSeries(std::string_view body, std::vector<SeriesRecordEntry>* entries) {
  entries->clear();
  ByteReader in(body);
  const std::uint64_t first = in.Varint();
  const std::uint64_t n = in.Varint();
  if (!in.ok() || n > in.remaining() || first > 0xffffffffULL || first + n > (1ULL << 32)) return Malformed("series count");
  entries->reserve(n);
  for (std::uint64_t i = 0; i < n; ++i) entries->push_back({static_cast<Ordinal>(first + i), in.LengthPrefixed()});
  return in.AtEnd() ? Status::Ok() : Malformed("series labels");
}

Status DecodeSamples(std::string_view body, std::vector<SampleEntry>* samples) {
  ByteReader in(body);
  const std::uint64_t n = in.Varint();
  const auto flags = in.Fixed<std::uint8_t>();
  const std::uint64_t first = in.Varint();
  const std::int64_t first_time = in.SignedVarint();
  if (!in.ok() || n == 0 || n > kSamplesPerRecordMax || first > 0xffffffffULL) return Malformed("samples header");
  samples->resize(n);
  std::vector<SampleEntry>& s = *samples;
  auto ordinal = static_cast<std::int64_t>(first);
  s[0].ordinal = static_cast<Ordinal>(first);
  for (std::uint64_t i = 1; i < n; ++i) {
    const std::int64_t step = (flags & kConsecutive) != 0 ? 1 : in.SignedVarint();
    // Bounded before it is added: a damaged step may be as large as its type.
    if (step < -ordinal || step > 0xffffffffLL - ordinal) return Malformed("sample ordinal");
    ordinal += step;
    s[i].ordinal = static_cast<Ordinal>(ordinal);
  }
  auto time = static_cast<std::uint64_t>(first_time);
  std::uint64_t delta = 0;
  s[0].timestamp = first_time;
  for (std::uint64_t i = 1; i < n; ++i) {
    if ((flags & kSameTime) == 0) {
      delta += static_cast<std::uint64_t>(in.SignedVarint());
      time += delta;
    }
    s[i].timestamp = static_cast<Timestamp>(time);
  }
  switch (flags & kValuesMask) {
    case kValuesRaw:
      for (SampleEntry& e : s) e.value = in.Double();
      break;
    case kValuesSame: {
      const double value = in.Double();
      for (SampleEntry& e : s) e.value = value;
      break;
    }
    case kValuesInt: {
      std::uint64_t whole = 0;
      for (SampleEntry& e : s) {
        whole += static_cast<std::uint64_t>(in.SignedVarint());
        e.value = static_cast<double>(static_cast<std::int64_t>(whole));
      }
      break;
    }
    default:
      return Malformed("sample values of unknown coding");
  }
  return in.AtEnd() ? Status::Ok() : Malformed("samples");
}

Status DecodeItems(std::string_view body, std::vector<ItemEntry>* items) {
  items->clear();
  ByteReader in(body);
  while (in.ok() && in.remaining() > 0) {
    const auto type = in.Fixed<std::uint8_t>();
    const std::uint64_t ordinal = in.Varint();
    const std::string_view bytes = in.LengthPrefixed();
    if (!in.ok() || ordinal > 0xffffffffULL || type < 1 || type > 3) return Malformed("item");
    items->push_back({static_cast<ItemType>(type), static_cast<Ordinal>(ordinal), bytes});
  }
  return Status::Ok();
}

Status DecodeDelete(std::string_view body, DeleteRecord* record) {
  ByteReader in(body);
  record->range.start = in.SignedVarint();
  record->range.end = in.SignedVarint();
  if (!in.ok()) return Malformed("delete");
  record->bitmap = in.Bytes(in.remaining());
  return Status::Ok();
}

Status DecodeFloor(std::string_view body, Timestamp* floor) {
  ByteReader in(body);
  *floor = in.SignedVarint();
  return in.AtEnd() ? Status::Ok() : Malformed("floor");
}

Status DecodeRemoveSeries(std::string_view body, std::vector<Ordinal>* ordinals) {
  ordinals->clear();
  ByteReader in(body);
  const std::uint64_t n = in.Varint();
  if (!in.ok() || n > in.remaining()) return Malformed("removed series count");
  for (std::uint64_t i = 0; i < n; ++i) {
    const std::uint64_t ordinal = in.Varint();
    if (ordinal > 0xffffffffULL) in.Fail();
    ordinals->push_back(static_cast<Ordinal>(ordinal));
  }
  return in.AtEnd() ? Status::Ok() : Malformed("removed series");
}

void StoreWalKey(Lsn first_lsn, char* key) {
  key[0] = kWalRowPrefix;
  StoreBigEndian(key + 1, first_lsn);
}

bool ParseWalKey(std::string_view key, Lsn* first_lsn) {
  if (key.size() != kWalKeyBytes || key[0] != kWalRowPrefix) return false;
  *first_lsn = LoadBigEndian<std::uint64_t>(key.data() + 1);
  return true;
}

std::string WalKey(Lsn first_lsn) {
  std::string key(kWalKeyBytes, '\0');
  StoreWalKey(first_lsn, key.data());
  return key;
}

WalRowEncoder::WalRowEncoder() : state_(static_cast<std::size_t>(LZ4_sizeofState())) {}

bool WalRowEncoder::Append(ShardId shard, const WalRowHeader& header, std::string_view payload, bool compress, std::string* out) {
  std::string_view stored = payload;
  if (compress) {
    scratch_.resize(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(payload.size()))));
    const int n = LZ4_compress_fast_extState(state_.data(), payload.data(), scratch_.data(), static_cast<int>(payload.size()),
                                             static_cast<int>(scratch_.size()), 1);
    if (n > 0 && static_cast<std::size_t>(n) <= payload.size() - payload.size() / 8) {
      stored = {scratch_.data(), static_cast<std::size_t>(n)};
    } else {
      compress = false;
    }
  }
  const std::size_t start = out->size();
  out->push_back(static_cast<char>(kRowVersion));
  out->push_back(static_cast<char>(compress ? kRowCompressed : 0));
  PutVarint(out, header.epoch);
  PutVarint(out, header.group);
  PutVarint(out, header.synced_group);
  PutZigZag(out, header.write_time_ms);
  PutVarint(out, header.records);
  PutVarint(out, payload.size());
  out->append(stored);
  char key[kWalKeyBytes];
  StoreWalKey(header.first_lsn, key);
  PutFixed32(out, Crc32c({out->data() + start, out->size() - start}, RowSeed(shard, {key, sizeof(key)})));
  return compress;
}

Status DecodeWalRow(ShardId shard, std::string_view key, std::string_view value, WalRowHeader* header, std::string_view* payload,
                    std::string* scratch) {
  if (!ParseWalKey(key, &header->first_lsn)) return DataLoss("log row has a malformed key");
  const std::string where = "log row of shard " + std::to_string(shard) + " at LSN " + std::to_string(header->first_lsn);
  if (value.size() < 6) return DataLoss(where + " is cut off");
  const std::string_view covered = value.substr(0, value.size() - 4);
  if (Crc32c(covered, RowSeed(shard, key)) != LoadFixed<std::uint32_t>(value.data() + covered.size())) {
    return DataLoss(where + " has a wrong checksum");
  }
  ByteReader in(covered);
  if (const auto version = in.Fixed<std::uint8_t>(); version != kRowVersion) {
    return FailedPrecondition(where + " has format version " + std::to_string(version) + ", this build reads " +
                              std::to_string(kRowVersion));
  }
  const auto flags = in.Fixed<std::uint8_t>();
  header->epoch = in.Varint();
  header->group = in.Varint();
  header->synced_group = in.Varint();
  header->write_time_ms = in.SignedVarint();
  header->records = in.Varint();
  const std::uint64_t raw_bytes = in.Varint();
  *payload = in.Bytes(in.remaining());
  if (!in.ok() || raw_bytes > (1ULL << 20)) return DataLoss(where + " has a malformed header");
  if ((flags & kRowCompressed) != 0) {
    scratch->resize(raw_bytes);
    const int n = LZ4_decompress_safe(payload->data(), scratch->data(), static_cast<int>(payload->size()), static_cast<int>(raw_bytes));
    if (n < 0 || static_cast<std::uint64_t>(n) != raw_bytes) return DataLoss(where + " does not decompress");
    *payload = *scratch;
  } else if (payload->size() != raw_bytes) {
    return DataLoss(where + " has a wrong payload length");
  }
  return Status::Ok();
}

std::string EncodeWalState(ShardId shard, Lsn trimmed_to) {
  std::string value(1, static_cast<char>(kRowVersion));
  PutVarint(&value, trimmed_to);
  PutFixed32(&value, Crc32c(value, RowSeed(shard, kWalStateKey)));
  return value;
}

Status DecodeWalState(ShardId shard, std::string_view value, Lsn* trimmed_to) {
  const std::string where = "log state of shard " + std::to_string(shard);
  if (value.size() < 6) return DataLoss(where + " is cut off");
  const std::string_view covered = value.substr(0, value.size() - 4);
  if (Crc32c(covered, RowSeed(shard, kWalStateKey)) != LoadFixed<std::uint32_t>(value.data() + covered.size())) {
    return DataLoss(where + " has a wrong checksum");
  }
  ByteReader in(covered);
  if (const auto version = in.Fixed<std::uint8_t>(); version != kRowVersion) {
    return FailedPrecondition(where + " has format version " + std::to_string(version));
  }
  *trimmed_to = in.Varint();
  return in.AtEnd() ? Status::Ok() : DataLoss(where + " is malformed");
}

}  // namespace chronolith

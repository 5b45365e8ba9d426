#include "format/chunk_rows.h"

#include <limits>
#include <optional>

#include "base/checksum.h"
#include "base/coding.h"
#include "chunk/packed_chunk.h"
#include "format/row_keys.h"

namespace chronolith {
namespace {

constexpr std::uint8_t kOverlayFlag = 1;
// kPackedChunkRowVersion: with the version, in its byte.
constexpr std::uint8_t kVersionBits = 15;
constexpr std::uint8_t kPackedOverlay = 16;
constexpr std::uint8_t kPackedSteady = 32;
constexpr std::uint64_t kSecond = 1000;
// Room for the runs of one tombstone part; what stands around them is far below the rest.
constexpr std::size_t kTombstoneRunBytesMax = 60U << 10;
constexpr std::size_t kCrcBytes = 4;

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char c : bytes) {
    text.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    text.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return text;
}

Status Damaged(const char* what, std::string_view key, const char* how) {
  return DataLoss(std::string(what) + " row " + Hex(key) + ": " + how);
}

void PutCrc(std::string_view key, std::string* value) { PutFixed32(value, Crc32c(*value, Crc32c(key))); }

std::uint8_t VersionOf(char first) {
  const auto byte = static_cast<std::uint8_t>(first);
  const auto version = static_cast<std::uint8_t>(byte & kVersionBits);
  return version == kPackedChunkRowVersion || version == kOlderPackedChunkRowVersion ? version : byte;
}

bool IsPackedRow(const ChunkMeta& meta, std::string_view payload) { return meta.type == ChunkType::kXor && IsPacked(payload); }

// Checks length, CRC and version, which is at most `newest`, and cuts *value down to what stands between version and CRC.
Status Unwrap(const char* what, std::string_view key, std::uint8_t newest, std::string_view* value) {
  if (value->size() <= kCrcBytes) return Damaged(what, key, "value is too short");
  const std::string_view covered = value->substr(0, value->size() - kCrcBytes);
  if (Crc32c(covered, Crc32c(key)) != LoadFixed<std::uint32_t>(covered.data() + covered.size())) {
    return Damaged(what, key, "checksum does not match");
  }
  if (const std::uint8_t version = VersionOf(covered[0]); version == 0 || version > newest) {
    if (version == 0) return Damaged(what, key, "version is 0");
    return FailedPrecondition(std::string(what) + " row " + Hex(key) + " has format version " + std::to_string(version) +
                              "; this build reads up to " + std::to_string(newest));
  }
  *value = covered.substr(1);
  return Status::Ok();
}

// Reads what stands between the version and the payload.
bool ReadChunkHeader(ByteReader* in, ChunkMeta* meta) {
  const auto flags = in->Fixed<std::uint8_t>();
  if ((flags & ~kOverlayFlag) != 0) return false;
  meta->overlay = (flags & kOverlayFlag) != 0;
  meta->epoch = in->Varint();
  meta->min_time = static_cast<Timestamp>(static_cast<std::uint64_t>(meta->window) + in->Varint());
  meta->max_time = static_cast<Timestamp>(static_cast<std::uint64_t>(meta->min_time) + in->Varint());
  const std::uint64_t samples = in->Varint();
  if (samples > std::numeric_limits<std::uint32_t>::max()) return false;
  meta->samples = static_cast<std::uint32_t>(samples);
  return in->ok() && meta->window <= meta->min_time && meta->min_time <= meta->max_time;
}

Timestamp Later(Timestamp t, std::uint64_t by) { return static_cast<Timestamp>(static_cast<std::uint64_t>(t) + by); }
Timestamp LastOfSteady(const PackedFront& front) { return Later(front.first, (front.samples - 1) * front.delta); }

// The same of kPackedChunkRowVersion, with the front of the payload.
bool ReadPackedHeader(std::uint8_t first, ByteReader* in, ChunkMeta* meta, PackedFront* front) {
  if ((first & ~(kVersionBits | kPackedOverlay | kPackedSteady)) != 0) return false;
  meta->overlay = (first & kPackedOverlay) != 0;
  front->steady = (first & kPackedSteady) != 0;
  meta->epoch = in->Varint();
  meta->min_time = front->first = Later(meta->window, in->Varint());
  const std::uint64_t samples = in->Varint();
  if (samples == 0 || samples > kXorMaxSamples) return false;
  meta->samples = front->samples = static_cast<std::uint32_t>(samples);
  if (samples > 1) {
    const std::uint64_t seconds = in->Varint();
    if (seconds > std::numeric_limits<std::uint64_t>::max() / kSecond) return false;
    front->delta = seconds > 0 ? seconds * kSecond : in->Varint();
  }
  meta->max_time = front->steady ? LastOfSteady(*front) : Later(meta->min_time, in->Varint());
  return in->ok() && meta->window <= meta->min_time && meta->min_time <= meta->max_time;
}

// Reads the front of a packed payload. False where it is not of that chunk, or not as PutPackedFront writes it.
bool ReadFrontOf(const ChunkMeta& meta, ByteReader* payload, PackedFront* front) {
  ByteReader bytes = *payload;
  if (!ReadPackedFront(payload, front)) return false;
  std::string written;
  PutPackedFront(*front, &written);
  return bytes.Bytes(bytes.remaining() - payload->remaining()) == written && front->samples == meta.samples &&
         front->first == meta.min_time && (!front->steady || LastOfSteady(*front) == meta.max_time);
}

bool PutPacked(const ChunkMeta& meta, std::string_view payload, std::string* value) {
  ByteReader in(payload);
  PackedFront front;
  if (!ReadFrontOf(meta, &in, &front)) return false;
  const int flags = (meta.overlay ? kPackedOverlay : 0) | (front.steady ? kPackedSteady : 0);
  value->push_back(static_cast<char>(kPackedChunkRowVersion | flags));
  PutVarint(value, meta.epoch);
  PutVarint(value, static_cast<std::uint64_t>(meta.min_time) - static_cast<std::uint64_t>(meta.window));
  PutVarint(value, meta.samples);
  if (front.samples > 1) {
    const bool seconds = front.delta % kSecond == 0;
    PutVarint(value, seconds ? front.delta / kSecond : 0);
    if (!seconds || front.delta == 0) PutVarint(value, front.delta);
  }
  if (!front.steady) PutVarint(value, static_cast<std::uint64_t>(meta.max_time) - static_cast<std::uint64_t>(meta.min_time));
  value->append(in.Bytes(in.remaining()));
  return true;
}

// Reads what stands before the payload, and sets *front where the payload lacks it. kOlderPackedChunkRowVersion was written in
// two forms: a row whose front says what its header says is whole, any other is like kPackedChunkRowVersion.
bool ReadHeader(char first, ByteReader* in, ChunkMeta* meta, std::optional<PackedFront>* front) {
  const std::uint8_t version = VersionOf(first);
  if (version == kChunkRowVersion) return ReadChunkHeader(in, meta);
  if (meta->type != ChunkType::kXor) return false;
  if (first == kOlderPackedChunkRowVersion) {
    ByteReader whole = *in;
    ChunkMeta found = *meta;
    PackedFront ignored;
    if (ReadChunkHeader(&whole, &found)) {
      ByteReader payload = whole;
      if (ReadFrontOf(found, &payload, &ignored)) {
        *in = whole;
        *meta = found;
        return true;
      }
    }
  }
  return ReadPackedHeader(static_cast<std::uint8_t>(first), in, meta, &front->emplace());
}

}  // namespace

Timestamp WindowOf(Timestamp t, std::int64_t window_ms) {
  std::int64_t remainder = t % window_ms;
  if (remainder < 0) remainder += window_ms;
  return t < kMinTimestamp + remainder ? kMinTimestamp : t - remainder;
}

ChunkKey EncodeChunkKey(const ChunkMeta& meta) {
  ChunkKey key;
  key[0] = kChunkKeyTag;
  StoreBigEndian(&key[1], OrderedInt64(meta.window));
  StoreBigEndian(&key[9], meta.ordinal);
  StoreBigEndian(&key[13], meta.creation_lsn);
  StoreBigEndian(&key[21], meta.sequence);
  key[25] = static_cast<char>(meta.type);
  return key;
}

std::string ChunkWindowPrefix(Timestamp window) {
  std::string key(1, kChunkKeyTag);
  PutBigEndian64(&key, OrderedInt64(window));
  return key;
}

std::string ChunkSeriesPrefix(Timestamp window, std::uint32_t ordinal) {
  std::string key = ChunkWindowPrefix(window);
  PutBigEndian32(&key, ordinal);
  return key;
}

bool DecodeChunkKey(std::string_view key, ChunkMeta* meta) {
  if (key.size() != kChunkKeyBytes || key[0] != kChunkKeyTag) return false;
  meta->window = FromOrderedInt64(LoadBigEndian<std::uint64_t>(&key[1]));
  meta->ordinal = LoadBigEndian<std::uint32_t>(&key[9]);
  meta->creation_lsn = LoadBigEndian<std::uint64_t>(&key[13]);
  meta->sequence = LoadBigEndian<std::uint32_t>(&key[21]);
  meta->type = static_cast<ChunkType>(key[25]);
  return meta->type >= ChunkType::kXor && meta->type <= ChunkType::kExemplar;
}

Status BadChunkKey(std::string_view key) {
  if (key.size() == kChunkKeyBytes && static_cast<std::uint8_t>(key[25]) > static_cast<std::uint8_t>(ChunkType::kExemplar)) {
    return FailedPrecondition("chunk row " + Hex(key) + " has chunk type " + std::to_string(static_cast<std::uint8_t>(key[25])) +
                              "; this build reads up to " + std::to_string(static_cast<int>(ChunkType::kExemplar)));
  }
  return Damaged("chunk", key, "malformed key");
}

Status EncodeChunkValue(std::string_view key, const ChunkMeta& meta, std::string_view payload, std::string* value) {
  if (payload.size() > kChunkPayloadBytesMax) {
    return InvalidArgument("chunk row " + Hex(key) + ": a payload of " + std::to_string(payload.size()) +
                           " bytes does not fit a row; at most " + std::to_string(kChunkPayloadBytesMax));
  }
  if (meta.min_time > meta.max_time || meta.window > meta.min_time) {
    return InvalidArgument("chunk row " + Hex(key) + ": times " + std::to_string(meta.min_time) + " to " +
                           std::to_string(meta.max_time) + " are out of order or before the window");
  }
  value->clear();
  if (IsPackedRow(meta, payload)) {
    if (!PutPacked(meta, payload, value)) return InvalidArgument("chunk row " + Hex(key) + ": the payload is of other samples");
  } else {
    value->push_back(static_cast<char>(kChunkRowVersion));
    value->push_back(static_cast<char>(meta.overlay ? kOverlayFlag : 0));
    PutVarint(value, meta.epoch);
    PutVarint(value, static_cast<std::uint64_t>(meta.min_time) - static_cast<std::uint64_t>(meta.window));
    PutVarint(value, static_cast<std::uint64_t>(meta.max_time) - static_cast<std::uint64_t>(meta.min_time));
    PutVarint(value, meta.samples);
    value->append(payload);
  }
  PutCrc(key, value);
  return Status::Ok();
}

Status DecodeChunkValue(std::string_view key, std::string_view value, ChunkMeta* meta, std::string_view* payload,
                        std::string* buffer) {
  const char first = value.empty() ? '\0' : value[0];
  if (Status s = Unwrap("chunk", key, kPackedChunkRowVersion, &value); !s.ok()) return s;
  ByteReader in(value);
  std::optional<PackedFront> front;
  if (!ReadHeader(first, &in, meta, &front)) return Damaged("chunk", key, "malformed header");
  *payload = in.Bytes(in.remaining());
  if (front) {
    buffer->clear();
    PutPackedFront(*front, buffer);
    *payload = buffer->append(*payload);
  } else if (VersionOf(first) == kChunkRowVersion && IsPackedRow(*meta, *payload)) {
    return Damaged("chunk", key, "the payload is not of the version's form");
  }
  return Status::Ok();
}

bool IsPackedChunkValue(std::string_view value) {
  const std::uint8_t version = value.empty() ? 0 : VersionOf(value[0]);
  return version == kPackedChunkRowVersion || version == kOlderPackedChunkRowVersion;
}

bool PeekChunkValue(std::string_view value, ChunkMeta* meta) {
  if (value.size() <= kCrcBytes) return false;
  ByteReader in(value.substr(1, value.size() - 1 - kCrcBytes));
  std::optional<PackedFront> front;
  const std::uint8_t version = VersionOf(value[0]);
  return version > 0 && version <= kPackedChunkRowVersion && ReadHeader(value[0], &in, meta, &front);
}

std::string TombstonePrefix(Lsn lsn) {
  std::string key(1, kTombstoneKeyTag);
  PutBigEndian64(&key, lsn);
  return key;
}

std::vector<ChunkFamilyRow> EncodeTombstone(const Tombstone& tombstone) {
  std::vector<std::string> parts(1);
  std::uint64_t end = 0;  // of the run before, exclusive
  const std::vector<std::uint32_t> ordinals = tombstone.ordinals.ToVector();
  for (std::size_t i = 0; i < ordinals.size();) {
    std::size_t j = i + 1;
    while (j < ordinals.size() && ordinals[j] == ordinals[j - 1] + 1) ++j;
    if (parts.back().size() > kTombstoneRunBytesMax - 2 * kMaxVarint64Bytes) {
      parts.emplace_back();
      end = 0;
    }
    PutVarint(&parts.back(), ordinals[i] - end);
    PutVarint(&parts.back(), j - i - 1);
    end = static_cast<std::uint64_t>(ordinals[j - 1]) + 1;
    i = j;
  }
  std::vector<ChunkFamilyRow> rows;
  for (const std::string& runs : parts) {
    ChunkFamilyRow row;
    row.key = TombstonePrefix(tombstone.lsn);
    PutBigEndian32(&row.key, static_cast<std::uint32_t>(rows.size()));
    row.value.push_back(static_cast<char>(kChunkRowVersion));
    PutVarint(&row.value, parts.size());
    PutZigZag(&row.value, tombstone.range.start);
    PutZigZag(&row.value, tombstone.range.end);
    row.value.append(runs);
    PutCrc(row.key, &row.value);
    rows.push_back(std::move(row));
  }
  return rows;
}

bool ParseTombstoneKey(std::string_view key, Lsn* lsn, std::uint32_t* part) {
  if (key.size() != 13 || key[0] != kTombstoneKeyTag) return false;
  *lsn = LoadBigEndian<std::uint64_t>(&key[1]);
  *part = LoadBigEndian<std::uint32_t>(&key[9]);
  return true;
}

Status DecodeTombstone(std::string_view key, std::string_view value, TombstonePart* part) {
  if (!ParseTombstoneKey(key, &part->tombstone.lsn, &part->part)) return Damaged("tombstone", key, "malformed key");
  if (Status s = Unwrap("tombstone", key, kChunkRowVersion, &value); !s.ok()) return s;
  part->tombstone.ordinals = OrdinalSet();
  ByteReader in(value);
  part->parts = in.Varint();
  part->tombstone.range.start = in.SignedVarint();
  part->tombstone.range.end = in.SignedVarint();
  std::uint64_t end = 0;
  while (in.ok() && !in.AtEnd()) {
    const std::uint64_t gap = in.Varint();
    const std::uint64_t more = in.Varint();
    constexpr std::uint64_t kBound = 1ULL << 32;
    if (!in.ok() || gap >= kBound - end || more >= kBound - end - gap) return Damaged("tombstone", key, "malformed series list");
    const std::uint64_t first = end + gap;
    part->tombstone.ordinals.AddRange(static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(first + more));
    end = first + more + 1;
    if (end == kBound && !in.AtEnd()) return Damaged("tombstone", key, "malformed series list");
  }
  if (!in.AtEnd() || part->part >= part->parts) return Damaged("tombstone", key, "malformed value");
  return Status::Ok();
}

ChunkFamilyRow EncodeChunkState(const ChunkState& state) {
  ChunkFamilyRow row;
  row.key = kChunkStateKey;
  row.value.push_back(static_cast<char>(kChunkRowVersion));
  PutVarint(&row.value, state.applied_lsn);
  PutZigZag(&row.value, state.floor);
  PutVarint(&row.value, state.epoch);
  PutCrc(row.key, &row.value);
  return row;
}

Status DecodeChunkState(std::string_view key, std::string_view value, ChunkState* state) {
  if (Status s = Unwrap("chunk state", key, kChunkRowVersion, &value); !s.ok()) return s;
  ByteReader in(value);
  state->applied_lsn = in.Varint();
  state->floor = in.SignedVarint();
  state->epoch = in.Varint();
  if (!in.AtEnd()) return Damaged("chunk state", key, "malformed value");
  return Status::Ok();
}

}  // namespace chronolith

#include "format/archive_segment.h"

#include "base/checksum.h"
#include "base/coding.h"

namespace chronolith {
namespace {

constexpr std::string_view kMagic = "CLAB";
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kRowOverhead = 5 * kMaxVarint64Bytes;
constexpr std::uint64_t kShardsMax = 1024;  // of a header or mark; stores have fewer

// Magic, type, length, CRC32C of type, length and payload.
std::uint32_t BlockCrc(std::string_view prefix, std::string_view payload) {
  return Crc32c(payload, Crc32c(prefix.substr(kMagic.size(), 5)));
}

void AppendBlock(ArchiveBlockType type, std::string_view payload, std::string* out) {
  std::string prefix(kMagic);
  prefix.push_back(static_cast<char>(type));
  PutFixed32(&prefix, static_cast<std::uint32_t>(payload.size()));
  PutFixed32(&prefix, BlockCrc(prefix, payload));
  out->append(prefix).append(payload);
}

Status Malformed(const char* what) { return DataLoss(std::string("a block of ") + what + " is malformed"); }

Status DecodeHeader(ByteReader* in, ArchiveHeader* header) {
  if (const auto version = in->Fixed<std::uint8_t>(); in->ok() && version != kVersion) {
    return FailedPrecondition("it has format version " + std::to_string(version) + ", this build reads " +
                              std::to_string(kVersion));
  }
  const std::string_view uuid = in->Bytes(header->uuid.size());
  if (!in->ok()) return Malformed("type header");
  uuid.copy(header->uuid.data(), uuid.size());
  header->incarnation = in->Fixed<std::uint64_t>();
  header->number = in->Varint();
  const std::uint64_t shards = in->Varint();
  if (!in->ok() || shards > kShardsMax) return Malformed("type header");
  for (std::uint64_t i = 0; i < shards && in->ok(); ++i) {
    ArchiveShardState state;
    state.shard = static_cast<ShardId>(in->Varint());
    state.last_lsn = in->Varint();
    state.epoch = in->Varint();
    state.write_time_ms = in->SignedVarint();
    header->shards.push_back(state);
  }
  return in->ok() && in->remaining() == 0 ? Status::Ok() : Malformed("type header");
}

Status DecodeRows(ByteReader* in, std::vector<ArchivedRow>* rows) {
  const std::uint64_t shard = in->Varint();
  Lsn next = 0;
  while (in->ok() && in->remaining() > 0) {
    ArchivedRow row;
    row.shard = static_cast<std::uint32_t>(shard);
    row.first_lsn = in->Varint();
    const std::uint64_t more = in->Varint();
    row.last_lsn = row.first_lsn + more;
    row.epoch = in->Varint();
    row.write_time_ms = in->SignedVarint();
    row.value = in->LengthPrefixed();
    if (!in->ok() || row.first_lsn < next || row.first_lsn == 0 || row.last_lsn < row.first_lsn) return Malformed("rows");
    next = row.last_lsn + 1;
    if (next == 0) return Malformed("rows");
    rows->push_back(row);
  }
  return in->ok() && !rows->empty() && shard < kShardsMax ? Status::Ok() : Malformed("rows");
}

Status DecodeGap(ByteReader* in, ArchiveGap* gap) {
  gap->shard = static_cast<ShardId>(in->Varint());
  gap->first_lsn = in->Varint();
  gap->last_lsn = in->Varint();
  return in->ok() && in->remaining() == 0 && gap->first_lsn <= gap->last_lsn ? Status::Ok() : Malformed("type gap");
}

Status DecodeMark(ByteReader* in, ArchiveMark* mark) {
  mark->epoch = in->Varint();
  mark->group = in->Varint();
  mark->time_ms = in->SignedVarint();
  const std::uint64_t shards = in->Varint();
  if (!in->ok() || shards > kShardsMax) return Malformed("type mark");
  for (std::uint64_t i = 0; i < shards && in->ok(); ++i) mark->archived_to.push_back(in->Varint());
  return in->ok() && in->remaining() == 0 ? Status::Ok() : Malformed("type mark");
}

}  // namespace

void AppendArchiveHeader(const ArchiveHeader& header, std::string* out) {
  std::string payload(1, static_cast<char>(kVersion));
  payload.append(header.uuid.data(), header.uuid.size());
  PutFixed64(&payload, header.incarnation);
  PutVarint(&payload, header.number);
  PutVarint(&payload, header.shards.size());
  for (const ArchiveShardState& state : header.shards) {
    PutVarint(&payload, state.shard);
    PutVarint(&payload, state.last_lsn);
    PutVarint(&payload, state.epoch);
    PutZigZag(&payload, state.write_time_ms);
  }
  AppendBlock(ArchiveBlockType::kHeader, payload, out);
}

std::size_t AppendArchiveRows(std::span<const ArchivedRow> rows, std::string* out) {
  std::string payload;
  PutVarint(&payload, rows.front().shard);
  std::size_t taken = 0;
  for (const ArchivedRow& row : rows) {
    if (taken > 0 && payload.size() + row.value.size() + kRowOverhead > kArchivePayloadBytesMax) break;
    PutVarint(&payload, row.first_lsn);
    PutVarint(&payload, row.last_lsn - row.first_lsn);
    PutVarint(&payload, row.epoch);
    PutZigZag(&payload, row.write_time_ms);
    PutBytes(&payload, row.value);
    ++taken;
  }
  AppendBlock(ArchiveBlockType::kRows, payload, out);
  return taken;
}

void AppendArchiveGap(const ArchiveGap& gap, std::string* out) {
  std::string payload;
  PutVarint(&payload, gap.shard);
  PutVarint(&payload, gap.first_lsn);
  PutVarint(&payload, gap.last_lsn);
  AppendBlock(ArchiveBlockType::kGap, payload, out);
}

void AppendArchiveMark(const ArchiveMark& mark, std::string* out) {
  std::string payload;
  PutVarint(&payload, mark.epoch);
  PutVarint(&payload, mark.group);
  PutZigZag(&payload, mark.time_ms);
  PutVarint(&payload, mark.archived_to.size());
  for (const Lsn lsn : mark.archived_to) PutVarint(&payload, lsn);
  AppendBlock(ArchiveBlockType::kMark, payload, out);
}

Result<std::uint32_t> ArchivePayloadBytes(std::string_view prefix) {
  if (prefix.size() < kArchivePrefixBytes || !prefix.starts_with(kMagic)) return DataLoss("no block begins here");
  const auto bytes = LoadFixed<std::uint32_t>(prefix.data() + kMagic.size() + 1);
  if (bytes > kArchivePayloadBytesMax) return DataLoss("a block has a length beyond all bounds");
  return bytes;
}

Status DecodeArchiveBlock(std::string_view bytes, ArchiveBlock* block) {
  const Result<std::uint32_t> length = ArchivePayloadBytes(bytes);
  if (!length.ok()) return length.status();
  if (bytes.size() != kArchivePrefixBytes + *length) return DataLoss("a block is cut off");
  const std::string_view payload = bytes.substr(kArchivePrefixBytes);
  if (BlockCrc(bytes, payload) != LoadFixed<std::uint32_t>(bytes.data() + kArchivePrefixBytes - 4)) {
    return DataLoss("a block does not match its checksum");
  }
  *block = {};
  block->type = static_cast<ArchiveBlockType>(bytes[kMagic.size()]);
  ByteReader in(payload);
  switch (block->type) {
    case ArchiveBlockType::kHeader:
      return DecodeHeader(&in, &block->header);
    case ArchiveBlockType::kRows:
      return DecodeRows(&in, &block->rows);
    case ArchiveBlockType::kGap:
      return DecodeGap(&in, &block->gap);
    case ArchiveBlockType::kMark:
      return DecodeMark(&in, &block->mark);
  }
  return FailedPrecondition("a block has type " + std::to_string(bytes[kMagic.size()]) + ", which this build does not know");
}

}  // namespace chronolith

// Any bytes as rows of a chunk family: decoding never reads outside of them, and what decodes encodes to the same bytes again.
// Byte 0 chooses the row: 0 chunk, 1 tombstone, 2 state; then comes the key, then the value. Bit 2 of byte 0: the last four bytes
// of the value are replaced by the right checksum, so that the fuzzer gets past it.
#include "base/checksum.h"
#include "base/coding.h"
#include "format/chunk_rows.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

void Reseal(std::string_view key, std::string* value) {
  if (value->size() < 4) return;
  value->resize(value->size() - 4);
  PutFixed32(value, Crc32c(*value, Crc32c(key)));
}

void CheckChunk(std::string_view key, std::string_view value) {
  ChunkMeta meta;
  if (!DecodeChunkKey(key, &meta)) {
    FUZZ_CHECK(!BadChunkKey(key).ok());
    return;
  }
  const ChunkKey again = EncodeChunkKey(meta);
  FUZZ_CHECK(std::string_view(again.data(), again.size()) == key);
  ChunkMeta peeked = meta;
  const bool can_peek = PeekChunkValue(value, &peeked);
  std::string_view payload;
  std::string buffer;
  if (!DecodeChunkValue(key, value, &meta, &payload, &buffer).ok()) return;
  FUZZ_CHECK(can_peek && peeked.min_time == meta.min_time && peeked.max_time == meta.max_time && peeked.samples == meta.samples);
  std::string encoded;
  const Status s = EncodeChunkValue(key, meta, payload, &encoded);
  if (payload.size() > kChunkPayloadBytesMax) return;
  FUZZ_CHECK(s.ok());
  ChunkMeta back = meta;
  std::string_view payload_back;
  std::string buffer_back;
  FUZZ_CHECK(DecodeChunkValue(key, encoded, &back, &payload_back, &buffer_back).ok());
  FUZZ_CHECK(payload_back == payload && back.min_time == meta.min_time && back.max_time == meta.max_time &&
             back.samples == meta.samples && back.epoch == meta.epoch && back.overlay == meta.overlay);
}

void CheckTombstone(std::string_view key, std::string_view value) {
  TombstonePart part;
  if (!DecodeTombstone(key, value, &part).ok()) return;
  if (part.tombstone.ordinals.size() > 1'000'000) return;  // a few bytes can mean four billion
  TombstonePart back;
  OrdinalSet all;
  for (const ChunkFamilyRow& row : EncodeTombstone(part.tombstone)) {
    FUZZ_CHECK(DecodeTombstone(row.key, row.value, &back).ok());
    all.UnionWith(back.tombstone.ordinals);
  }
  FUZZ_CHECK(all.ToVector() == part.tombstone.ordinals.ToVector());
  FUZZ_CHECK(back.tombstone.range == part.tombstone.range && back.tombstone.lsn == part.tombstone.lsn);
}

void CheckState(std::string_view key, std::string_view value) {
  ChunkState state;
  if (!DecodeChunkState(key, value, &state).ok()) return;
  const ChunkFamilyRow row = EncodeChunkState(state);
  ChunkState back;
  FUZZ_CHECK(DecodeChunkState(row.key, row.value, &back).ok());
  FUZZ_CHECK(back.applied_lsn == state.applied_lsn && back.floor == state.floor && back.epoch == state.epoch);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes = FuzzBytes(data, size).substr(1);
  constexpr std::size_t kKeyBytes[] = {kChunkKeyBytes, 13, 1, 7};
  const std::string_view key = bytes.substr(0, kKeyBytes[data[0] & 3]);
  std::string value(bytes.substr(key.size()));
  if ((data[0] & 4) != 0) Reseal(key, &value);
  if ((data[0] & 3) == 1) {
    CheckTombstone(key, value);
  } else if ((data[0] & 3) == 2) {
    CheckState(key, value);
  } else {
    CheckChunk(key, value);
  }
  return 0;
}

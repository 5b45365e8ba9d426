#include "format/chunk_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/coding.h"
#include "chunk/packed_chunk.h"

namespace chronolith {
namespace {

using ::testing::HasSubstr;

std::string Hex(std::string_view bytes) {
  std::string text;
  char two[3];
  for (const char c : bytes) {
    std::snprintf(two, sizeof(two), "%02x", static_cast<unsigned char>(c));
    text += two;
  }
  return text;
}

ChunkMeta SomeMeta() {
  ChunkMeta meta;
  meta.window = 7'200'000;
  meta.ordinal = 0x01020304;
  meta.creation_lsn = 0x1122334455667788;
  meta.sequence = 5;
  meta.type = ChunkType::kXor;
  meta.overlay = true;
  meta.epoch = 300;
  meta.min_time = 7'200'001;
  meta.max_time = 7'200'201;
  meta.samples = 3;
  return meta;
}

std::string KeyOf(const ChunkMeta& meta) {
  const ChunkKey key = EncodeChunkKey(meta);
  return {key.data(), key.size()};
}

// A value with a right CRC, whatever its contents.
std::string Sealed(std::string_view key, std::string value) {
  PutFixed32(&value, Crc32c(value, Crc32c(key)));
  return value;
}

TEST(ChunkRow, BytesAreGolden) {
  const ChunkMeta meta = SomeMeta();
  const std::string key = KeyOf(meta);
  EXPECT_EQ(Hex(key), "6380000000006ddd000102030411223344556677880000000501");
  std::string value;
  ASSERT_TRUE(EncodeChunkValue(key, meta, "payload", &value).ok());
  EXPECT_EQ(Hex(value).substr(0, Hex(value).size() - 8), "0101ac0201c801037061796c6f6164");
  EXPECT_EQ(Hex(value), "0101ac0201c801037061796c6f61644ea2b397");
}

// A packed payload of `samples`, `distance` ms apart, from `meta.min_time` on; and `meta` of it.
std::string PackedPayload(ChunkMeta* meta, int samples, std::int64_t distance, bool steady) {
  XorAppender appender;
  std::vector<std::uint8_t> buffer(static_cast<std::size_t>(samples) * kXorMaxSampleBytes + 16);
  for (int i = 0; i < samples; ++i) {
    meta->max_time = meta->min_time + i * distance + (!steady && i == 5 ? 1 : 0);
    appender.Append(buffer.data(), meta->max_time, i % 7);
  }
  meta->samples = static_cast<std::uint32_t>(samples);
  std::string chunk, packed;
  appender.CopyTo(buffer.data(), &chunk);
  FloatPacker packer;
  EXPECT_TRUE(packer.Pack(chunk, &packed));
  return packed;
}

TEST(ChunkRow, PackedBytesAreGolden) {
  ChunkMeta meta = SomeMeta();
  const std::string key = KeyOf(meta);
  const std::string payload = PackedPayload(&meta, 40, 15'000, true);
  std::string value;
  ASSERT_TRUE(EncodeChunkValue(key, meta, payload, &value).ok());
  // The front of the payload: mark, version, samples; time of the first; delta. In the row: version, overlay and steady; epoch; 1
  // ms into the window; 40 samples, 15 s apart.
  EXPECT_EQ(Hex(payload).substr(0, 20),
            "00008128"
            "82f4ee06"
            "9875");
  EXPECT_EQ(Hex(value).substr(0, Hex(value).size() - 8), "33ac0201280f" + Hex(payload).substr(20));
  EXPECT_LE(value.size(), payload.size());
}

TEST(ChunkRow, PackedPayloadsComeBack) {
  for (const bool steady : {true, false}) {
    for (const std::int64_t distance : {1LL, 999LL, 1000LL, 15'000LL, 15'001LL, 1LL << 52}) {
      for (const Timestamp window : {Timestamp{-7'200'000}, Timestamp{7'200'000}, kMinTimestamp}) {
        ChunkMeta meta = SomeMeta();
        meta.window = window;
        meta.min_time = window + 9;
        meta.overlay = distance == 1;
        const std::string payload = PackedPayload(&meta, 100, distance, steady);
        const std::string key = KeyOf(meta);
        std::string value;
        ASSERT_TRUE(EncodeChunkValue(key, meta, payload, &value).ok());
        ChunkMeta back, peeked;
        std::string_view found;
        std::string buffer;
        ASSERT_TRUE(DecodeChunkKey(key, &back) && DecodeChunkKey(key, &peeked));
        ASSERT_TRUE(DecodeChunkValue(key, value, &back, &found, &buffer).ok());
        ASSERT_TRUE(PeekChunkValue(value, &peeked));
        EXPECT_EQ(found, payload);
        for (const ChunkMeta& m : {back, peeked}) {
          EXPECT_EQ(m.min_time, meta.min_time);
          EXPECT_EQ(m.max_time, meta.max_time);
          EXPECT_EQ(m.samples, 100U);
          EXPECT_EQ(m.overlay, meta.overlay);
          EXPECT_EQ(m.epoch, meta.epoch);
        }
      }
    }
  }
}

TEST(ChunkRow, APackedRowIsOfTheSamplesThatItSays) {
  ChunkMeta meta = SomeMeta();
  const std::string key = KeyOf(meta);
  const std::string payload = PackedPayload(&meta, 40, 15'000, true);
  std::string value;
  EXPECT_TRUE(EncodeChunkValue(key, meta, payload, &value).ok());
  for (const auto change :
       {+[](ChunkMeta* m) { ++m->samples; }, +[](ChunkMeta* m) { --m->min_time; }, +[](ChunkMeta* m) { ++m->max_time; }}) {
    ChunkMeta other = meta;
    change(&other);
    const Status s = EncodeChunkValue(key, other, payload, &value);
    EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(s.message(), HasSubstr(Hex(key)));
  }
  EXPECT_EQ(EncodeChunkValue(key, meta, payload.substr(0, 5), &value).code(), StatusCode::kInvalidArgument);
  // Behind a right checksum, under a key of another type.
  ASSERT_TRUE(EncodeChunkValue(key, meta, payload, &value).ok());
  meta.type = ChunkType::kHistogram;
  const std::string histogram = KeyOf(meta);
  std::string_view found;
  std::string buffer;
  EXPECT_EQ(DecodeChunkValue(histogram, Sealed(histogram, value.substr(0, value.size() - 4)), &meta, &found, &buffer).code(),
            StatusCode::kDataLoss);
}

// Both forms of it: with the payload whole, and like version 3.
TEST(ChunkRow, PackedRowsOfVersion2AreRead) {
  for (const bool overlay : {true, false}) {
    for (const bool steady : {true, false}) {
      ChunkMeta meta = SomeMeta();
      meta.overlay = overlay;
      const std::string key = KeyOf(meta);
      const std::string payload = PackedPayload(&meta, 40, 15'000, steady);
      std::string whole = std::string(1, '\x02') + (overlay ? '\x01' : '\0');
      PutVarint(&whole, meta.epoch);
      PutVarint(&whole, static_cast<std::uint64_t>(meta.min_time - meta.window));
      PutVarint(&whole, static_cast<std::uint64_t>(meta.max_time - meta.min_time));
      PutVarint(&whole, meta.samples);
      std::string like3;
      ASSERT_TRUE(EncodeChunkValue(key, meta, payload, &like3).ok());
      like3.resize(like3.size() - 4);
      --like3[0];
      for (const std::string& row : {Sealed(key, whole + payload), Sealed(key, like3)}) {
        ChunkMeta back, peeked;
        std::string_view found;
        std::string buffer;
        ASSERT_TRUE(DecodeChunkKey(key, &back) && DecodeChunkKey(key, &peeked));
        ASSERT_TRUE(DecodeChunkValue(key, row, &back, &found, &buffer).ok());
        ASSERT_TRUE(PeekChunkValue(row, &peeked));
        EXPECT_EQ(found, payload);
        for (const ChunkMeta& m : {back, peeked}) {
          EXPECT_EQ(m.min_time, meta.min_time);
          EXPECT_EQ(m.max_time, meta.max_time);
          EXPECT_EQ(m.samples, 40U);
          EXPECT_EQ(m.overlay, overlay);
          EXPECT_EQ(m.epoch, meta.epoch);
        }
      }
    }
  }
}

TEST(ChunkRow, RoundTripsExtremeFields) {
  struct Case {
    Timestamp window, min, max;
  };
  for (const Case c : {Case{0, 0, 0}, Case{kMinTimestamp, kMinTimestamp, kMaxTimestamp}, Case{-7'200'000, -7'199'999, -1},
                       Case{kMaxTimestamp - 5, kMaxTimestamp - 3, kMaxTimestamp - 1}}) {
    for (const std::uint64_t lsn : {std::uint64_t{0}, ~std::uint64_t{0}}) {
      for (const ChunkType type : {ChunkType::kXor, ChunkType::kHistogram, ChunkType::kExemplar}) {
        ChunkMeta meta = SomeMeta();
        meta.window = c.window;
        meta.min_time = c.min;
        meta.max_time = c.max;
        meta.creation_lsn = lsn;
        meta.epoch = lsn;
        meta.sequence = static_cast<std::uint32_t>(lsn);
        meta.ordinal = static_cast<std::uint32_t>(lsn);
        meta.samples = ~0U;
        meta.type = type;
        meta.overlay = lsn != 0;
        const std::string key = KeyOf(meta);
        std::string value;
        ASSERT_TRUE(EncodeChunkValue(key, meta, std::string(100, 'x'), &value).ok());
        ChunkMeta back;
        std::string_view payload;
        std::string buffer;
        ASSERT_TRUE(DecodeChunkKey(key, &back));
        ASSERT_TRUE(DecodeChunkValue(key, value, &back, &payload, &buffer).ok());
        EXPECT_TRUE(back.SameChunk(meta));
        EXPECT_EQ(back.min_time, c.min);
        EXPECT_EQ(back.max_time, c.max);
        EXPECT_EQ(back.epoch, meta.epoch);
        EXPECT_EQ(back.overlay, meta.overlay);
        EXPECT_EQ(back.samples, ~0U);
        EXPECT_EQ(payload, std::string(100, 'x'));
        ChunkMeta peeked;
        ASSERT_TRUE(DecodeChunkKey(key, &peeked));
        ASSERT_TRUE(PeekChunkValue(value, &peeked));
        EXPECT_EQ(peeked.max_time, c.max);
      }
    }
  }
}

TEST(ChunkRow, KeyOrderIsWindowThenOrdinalThenCreation) {
  std::vector<std::string> keys;
  for (const Timestamp window : {kMinTimestamp, Timestamp{-7'200'000}, Timestamp{0}, Timestamp{7'200'000}}) {
    for (const std::uint32_t ordinal : {0U, 255U, 256U, ~0U}) {
      for (const Lsn lsn : {Lsn{1}, Lsn{256}}) {
        for (const std::uint32_t sequence : {0U, kCompactedSequence}) {
          ChunkMeta meta;
          meta.window = window;
          meta.ordinal = ordinal;
          meta.creation_lsn = lsn;
          meta.sequence = sequence;
          keys.push_back(KeyOf(meta));
          EXPECT_TRUE(keys.back().starts_with(ChunkSeriesPrefix(window, ordinal)));
          EXPECT_TRUE(keys.back().starts_with(ChunkWindowPrefix(window)));
        }
      }
    }
  }
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
}

TEST(ChunkRow, EveryFlippedBitAndEveryCutIsDataLossNamingTheKey) {
  const ChunkMeta meta = SomeMeta();
  const std::string key = KeyOf(meta);
  std::string value;
  ASSERT_TRUE(EncodeChunkValue(key, meta, "payload", &value).ok());
  const auto check = [&](std::string_view k, std::string_view v) {
    ChunkMeta back;
    std::string_view payload;
    std::string buffer;
    ASSERT_TRUE(DecodeChunkKey(k, &back));
    const Status s = DecodeChunkValue(k, v, &back, &payload, &buffer);
    ASSERT_EQ(s.code(), StatusCode::kDataLoss) << s.ToString();
    ASSERT_THAT(s.message(), HasSubstr(Hex(k)));
  };
  for (std::size_t bit = 0; bit < 8 * value.size(); ++bit) {
    std::string damaged = value;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    check(key, damaged);
  }
  for (std::size_t n = 0; n < value.size(); ++n) check(key, value.substr(0, n));
  for (std::size_t bit = 8; bit < 8 * (key.size() - 1); ++bit) {  // the row of another chunk
    std::string other = key;
    other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << (bit % 8)));
    check(other, value);
  }
}

TEST(ChunkRow, RefusesWhatIsMalformedBehindARightChecksum) {
  const std::string key = KeyOf(SomeMeta());
  struct Case {
    const char* name;
    std::string value;
    StatusCode code;
  };
  const std::vector<Case> cases = {
      {"newer version", Sealed(key, "\x04\x01\x01\x01\x01\x03"), StatusCode::kFailedPrecondition},
      {"packed: newer version", Sealed(key, "\x14\x01\x01\x02\x01"), StatusCode::kFailedPrecondition},
      {"packed: unknown flag", Sealed(key, "\x63\x01\x01\x02\x01"), StatusCode::kDataLoss},
      {"packed: no samples", Sealed(key, std::string("\x23\x01\x01\x00\x01", 5)), StatusCode::kDataLoss},
      {"packed: too many samples", Sealed(key, "\x23\x01\x01\xff\xff\x7f\x01"), StatusCode::kDataLoss},
      {"packed: cut before the distance", Sealed(key, "\x23\x01\x01\x02"), StatusCode::kDataLoss},
      {"packed: cut before the distance in ms", Sealed(key, std::string("\x23\x01\x01\x02\x00", 5)), StatusCode::kDataLoss},
      {"packed: too many seconds", Sealed(key, "\x23\x01\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), StatusCode::kDataLoss},
      {"packed: cut before the last time", Sealed(key, "\x03\x01\x01\x02\x01"), StatusCode::kDataLoss},
      {"packed: last time before the first",
       Sealed(key, std::string("\x23\x01\x01\x02\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 15)), StatusCode::kDataLoss},
      {"version 1, packed", Sealed(key, std::string("\x01\x01\x01\x01\x01\x03\0\0\x01", 9)), StatusCode::kDataLoss},
      {"version 0", Sealed(key, std::string("\0\x01\x01\x01\x01\x03", 6)), StatusCode::kDataLoss},
      {"unknown flag", Sealed(key, "\x01\x02\x01\x01\x01\x03"), StatusCode::kDataLoss},
      {"cut before samples", Sealed(key, "\x01\x01\x01\x01\x01"), StatusCode::kDataLoss},
      {"endless varint", Sealed(key, "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), StatusCode::kDataLoss},
      {"min before window", Sealed(key, std::string("\x01\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x03", 15)),
       StatusCode::kDataLoss},
      {"max before min", Sealed(key, std::string("\x01\x01\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x03", 15)),
       StatusCode::kDataLoss},
      {"too many samples", Sealed(key, "\x01\x01\x01\x01\x01\xff\xff\xff\xff\x7f"), StatusCode::kDataLoss},
      {"empty", "", StatusCode::kDataLoss},
  };
  for (const Case& c : cases) {
    ChunkMeta back;
    std::string_view payload;
    std::string buffer;
    ASSERT_TRUE(DecodeChunkKey(key, &back));
    EXPECT_EQ(DecodeChunkValue(key, c.value, &back, &payload, &buffer).code(), c.code) << c.name;
  }
}

TEST(ChunkRow, RefusesForeignKeys) {
  ChunkMeta meta = SomeMeta();
  const std::string good = KeyOf(meta);
  ASSERT_TRUE(DecodeChunkKey(good, &meta));
  for (const std::string& bad : {std::string(), std::string("c"), good.substr(1), good + "x", 'd' + good.substr(1)}) {
    EXPECT_FALSE(DecodeChunkKey(bad, &meta));
    EXPECT_EQ(BadChunkKey(bad).code(), StatusCode::kDataLoss);
  }
  const std::string typeless = good.substr(0, 25) + '\0';
  EXPECT_FALSE(DecodeChunkKey(typeless, &meta));
  EXPECT_EQ(BadChunkKey(typeless).code(), StatusCode::kDataLoss);
  const std::string newer = good.substr(0, 25) + '\x04';
  EXPECT_FALSE(DecodeChunkKey(newer, &meta));
  EXPECT_EQ(BadChunkKey(newer).code(), StatusCode::kFailedPrecondition);
}

TEST(ChunkRow, RefusesToEncodeWhatNoReaderWouldTake) {
  ChunkMeta meta = SomeMeta();
  const std::string key = KeyOf(meta);
  std::string value;
  EXPECT_TRUE(EncodeChunkValue(key, meta, std::string(kChunkPayloadBytesMax, 'x'), &value).ok());
  EXPECT_LE(value.size(), kChunkValueBytesMax);
  const Status large = EncodeChunkValue(key, meta, std::string(kChunkPayloadBytesMax + 1, 'x'), &value);
  EXPECT_EQ(large.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(large.message(), HasSubstr(Hex(key)));
  meta.max_time = meta.min_time - 1;
  EXPECT_EQ(EncodeChunkValue(key, meta, "x", &value).code(), StatusCode::kInvalidArgument);
  meta = SomeMeta();
  meta.min_time = meta.window - 1;
  EXPECT_EQ(EncodeChunkValue(key, meta, "x", &value).code(), StatusCode::kInvalidArgument);
}

TEST(WindowOf, RoundsDownAlsoBelowZeroAndAtTheEdge) {
  EXPECT_EQ(WindowOf(0, 100), 0);
  EXPECT_EQ(WindowOf(99, 100), 0);
  EXPECT_EQ(WindowOf(100, 100), 100);
  EXPECT_EQ(WindowOf(-1, 100), -100);
  EXPECT_EQ(WindowOf(-100, 100), -100);
  EXPECT_EQ(WindowOf(-101, 100), -200);
  EXPECT_EQ(WindowOf(kMinTimestamp, 100), kMinTimestamp);
  EXPECT_EQ(WindowOf(kMinTimestamp + 1, 100), kMinTimestamp);
  EXPECT_EQ(WindowOf(kMaxTimestamp, 100) % 100, 0);
}

std::vector<std::uint32_t> OrdinalsOf(const std::vector<ChunkFamilyRow>& rows, Tombstone* last) {
  OrdinalSet all;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    TombstonePart part;
    const Status s = DecodeTombstone(rows[i].key, rows[i].value, &part);
    EXPECT_TRUE(s.ok()) << s.ToString();
    EXPECT_EQ(part.part, i);
    EXPECT_EQ(part.parts, rows.size());
    EXPECT_LE(rows[i].value.size(), kChunkValueBytesMax);
    EXPECT_TRUE(rows[i].key.starts_with(TombstonePrefix(part.tombstone.lsn)));
    all.UnionWith(part.tombstone.ordinals);
    *last = part.tombstone;
  }
  return all.ToVector();
}

TEST(TombstoneRow, RoundTripsAlsoInParts) {
  std::vector<std::vector<std::uint32_t>> sets = {{}, {0}, {~0U}, {0, 1, 2, ~0U - 1, ~0U}, {5, 7, 9}};
  sets.emplace_back();
  for (std::uint32_t i = 0; i < 100'000; ++i) sets.back().push_back(i * 1000);  // does not fit one row
  sets.emplace_back(1'000'000);
  for (std::uint32_t i = 0; i < 1'000'000; ++i) sets.back()[i] = i;  // one run
  for (const auto& ordinals : sets) {
    Tombstone tombstone;
    tombstone.lsn = 77;
    tombstone.range = {-5, kMaxTimestamp};
    tombstone.ordinals.AddMany(ordinals);
    const std::vector<ChunkFamilyRow> rows = EncodeTombstone(tombstone);
    Tombstone back;
    EXPECT_EQ(OrdinalsOf(rows, &back), ordinals);
    EXPECT_EQ(back.lsn, 77U);
    EXPECT_EQ(back.range, tombstone.range);
  }
  Tombstone many;
  many.ordinals.AddMany(sets[5]);
  EXPECT_GT(EncodeTombstone(many).size(), 1U);
}

TEST(TombstoneRow, RefusesDamageAndMalformedLists) {
  Tombstone tombstone;
  tombstone.lsn = 77;
  tombstone.range = {1, 2};
  tombstone.ordinals.AddMany(std::vector<std::uint32_t>{1, 5});
  const ChunkFamilyRow row = EncodeTombstone(tombstone)[0];
  EXPECT_EQ(Hex(row.key), "74000000000000004d00000000");
  EXPECT_EQ(Hex(row.value).substr(0, 16), "0101020401000300");
  TombstonePart part;
  for (std::size_t bit = 0; bit < 8 * row.value.size(); ++bit) {
    std::string damaged = row.value;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(DecodeTombstone(row.key, damaged, &part).code(), StatusCode::kDataLoss);
  }
  const std::string head("\x01\x01\x02\x04", 4);
  for (const std::string& bad : {
           head + "\x01",                                                      // a gap without its run
           head + "\xff\xff\xff\xff\x1f" + std::string(1, '\0'),               // beyond 32 bits
           head + std::string(1, '\0') + "\xff\xff\xff\xff\x0f" + "\x01\x01",  // behind the last ordinal
           head + std::string(1, '\0') + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
           std::string("\x01\x00\x02\x04", 4),  // part 0 of 0
           std::string("\x01\x01", 2),
       }) {
    EXPECT_EQ(DecodeTombstone(row.key, Sealed(row.key, bad), &part).code(), StatusCode::kDataLoss) << Hex(bad);
  }
  EXPECT_EQ(DecodeTombstone(row.key, Sealed(row.key, "\x02\x01\x02\x04"), &part).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(DecodeTombstone("t", row.value, &part).code(), StatusCode::kDataLoss);
}

TEST(ChunkStateRow, RoundTripsAndRefusesDamage) {
  const ChunkFamilyRow row = EncodeChunkState({.applied_lsn = 1000, .floor = -7, .epoch = 3});
  EXPECT_EQ(row.key, "s");
  EXPECT_EQ(Hex(row.value).substr(0, 10), "01e8070d03");
  ChunkState state;
  ASSERT_TRUE(DecodeChunkState(row.key, row.value, &state).ok());
  EXPECT_EQ(state.applied_lsn, 1000U);
  EXPECT_EQ(state.floor, -7);
  EXPECT_EQ(state.epoch, 3U);
  for (std::size_t bit = 0; bit < 8 * row.value.size(); ++bit) {
    std::string damaged = row.value;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(DecodeChunkState(row.key, damaged, &state).code(), StatusCode::kDataLoss);
  }
  EXPECT_EQ(DecodeChunkState("s", Sealed("s", "\x01\x01\x01"), &state).code(), StatusCode::kDataLoss);
  EXPECT_EQ(DecodeChunkState("s", Sealed("s", "\x01\x01\x01\x01\x01"), &state).code(), StatusCode::kDataLoss);
  EXPECT_EQ(DecodeChunkState("s", Sealed("s", "\x07\x01\x01\x01"), &state).code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace chronolith

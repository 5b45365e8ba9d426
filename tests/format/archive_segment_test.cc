// The blocks of a log archive: their bytes, and what is refused.
#include "format/archive_segment.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/coding.h"
#include "tests/format/hex.h"

namespace chronolith {
namespace {

ArchiveHeader ExampleHeader() {
  ArchiveHeader header;
  for (std::size_t i = 0; i < header.uuid.size(); ++i) header.uuid[i] = static_cast<char>(i);
  header.incarnation = 0x1122334455667788;
  header.number = 7;
  header.shards = {{0, 300, 2, 1'700'000'000'000}, {3, 1, 1, -5}};
  return header;
}
std::vector<ArchivedRow> ExampleRows() { return {{2, 10, 12, 3, 1'700'000'000'000, "abc"}, {2, 13, 13, 3, 1'700'000'000'001, ""}}; }
ArchiveMark ExampleMark() { return {4, 500, 1'700'000'000'000, {1, 0, 70'000}}; }

std::string Header() {
  std::string bytes;
  AppendArchiveHeader(ExampleHeader(), &bytes);
  return bytes;
}
std::string Rows() {
  std::string bytes;
  EXPECT_EQ(AppendArchiveRows(ExampleRows(), &bytes), 2U);
  return bytes;
}
std::string Gap() {
  std::string bytes;
  AppendArchiveGap({1, 5, 300}, &bytes);
  return bytes;
}
std::string Mark() {
  std::string bytes;
  AppendArchiveMark(ExampleMark(), &bytes);
  return bytes;
}
// The block with another payload, under a right checksum.
std::string Sealed(std::string_view block, std::string_view payload) {
  std::string bytes(block.substr(0, 5));
  PutFixed32(&bytes, static_cast<std::uint32_t>(payload.size()));
  PutFixed32(&bytes, Crc32c(payload, Crc32c(std::string_view(bytes).substr(4, 5))));
  return bytes.append(payload);
}
StatusCode Decoded(std::string_view bytes) {
  const std::vector<char> exact(bytes.begin(), bytes.end());
  ArchiveBlock block;
  return DecodeArchiveBlock({exact.data(), exact.size()}, &block).code();
}

TEST(ArchiveSegment, Version1HasTheseBytes) {
  EXPECT_EQ(Hex(Header()),
            "434c41420129000000f3a7200b01000102030405060708090a0b0c0d0e0f8877665544332211070200ac020280a0abfef96203010109");
  EXPECT_EQ(Hex(Rows()), "434c41420218000000181fe57c020a020380a0abfef962036162630d000382a0abfef96200");
  EXPECT_EQ(Hex(Gap()), "434c4142030400000053b160d30105ac02");
  EXPECT_EQ(Hex(Mark()), "434c4142040f000000b4e9d92704f40380a0abfef962030100f0a204");
}

TEST(ArchiveSegment, ComesBack) {
  ArchiveBlock block;
  const std::string header = Header();
  ASSERT_TRUE(DecodeArchiveBlock(header, &block).ok());
  EXPECT_EQ(block.header, ExampleHeader());
  const std::string rows = Rows();
  ASSERT_TRUE(DecodeArchiveBlock(rows, &block).ok());
  ASSERT_EQ(block.rows.size(), 2U);
  EXPECT_EQ(block.rows[0].shard, 2U);
  EXPECT_EQ(block.rows[0].first_lsn, 10U);
  EXPECT_EQ(block.rows[0].last_lsn, 12U);
  EXPECT_EQ(block.rows[0].epoch, 3U);
  EXPECT_EQ(block.rows[0].write_time_ms, 1'700'000'000'000);
  EXPECT_EQ(block.rows[0].value, "abc");
  EXPECT_EQ(block.rows[1].last_lsn, 13U);
  const std::string gap = Gap();
  ASSERT_TRUE(DecodeArchiveBlock(gap, &block).ok());
  EXPECT_EQ(block.gap, (ArchiveGap{1, 5, 300}));
  const std::string mark = Mark();
  ASSERT_TRUE(DecodeArchiveBlock(mark, &block).ok());
  EXPECT_EQ(block.mark, ExampleMark());
}

TEST(ArchiveSegment, EveryFlippedBitAndEveryCutIsFound) {
  for (const std::string& block : {Header(), Rows(), Gap(), Mark()}) {
    for (std::size_t bit = 0; bit < block.size() * 8; ++bit) {
      std::string flipped = block;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      EXPECT_EQ(Decoded(flipped), StatusCode::kDataLoss) << "bit " << bit;
    }
    for (std::size_t n = 0; n < block.size(); ++n) EXPECT_EQ(Decoded(std::string_view(block).substr(0, n)), StatusCode::kDataLoss);
  }
}

TEST(ArchiveSegment, RefusesWhatNoWriterWrites) {
  const struct {
    const char* what;
    std::string bytes;
    StatusCode code;
  } kRows[] = {
      {"a newer version", Sealed(Header(), "\x02"), StatusCode::kFailedPrecondition},
      {"a header that ends early", Sealed(Header(), std::string_view("\x01", 1)), StatusCode::kDataLoss},
      {"no rows", Sealed(Rows(), std::string_view("\x02", 1)), StatusCode::kDataLoss},
      {"LSN 0", Sealed(Rows(), std::string_view("\x02\x00\x00\x01\x00\x00", 6)), StatusCode::kDataLoss},
      {"rows that overlap", Sealed(Rows(), std::string_view("\x02\x05\x02\x01\x00\x00\x06\x00\x01\x00\x00", 11)),
       StatusCode::kDataLoss},
      {"a value beyond the block", Sealed(Rows(), std::string_view("\x02\x05\x02\x01\x00\x09", 6)), StatusCode::kDataLoss},
      {"a gap that ends before it begins", Sealed(Gap(), std::string_view("\x02\x05\x04", 3)), StatusCode::kDataLoss},
      {"a mark of more shards than it has", Sealed(Mark(), std::string_view("\x02\x05\x04\x09\x01", 5)), StatusCode::kDataLoss},
      {"bytes behind a mark", Sealed(Mark(), std::string_view("\x02\x05\x04\x01\x01\x01", 6)), StatusCode::kDataLoss},
  };
  for (const auto& row : kRows) EXPECT_EQ(Decoded(row.bytes), row.code) << row.what;
  std::string unknown = Gap();
  unknown[4] = 9;
  EXPECT_EQ(Decoded(Sealed(unknown, "")), StatusCode::kFailedPrecondition);
}

TEST(ArchiveSegment, ABlockTakesNoMoreRowsThanAReaderHasRoomFor) {
  const std::string value(60'000, 'v');
  std::vector<ArchivedRow> rows;
  for (Lsn lsn = 1; lsn <= 100; ++lsn) rows.push_back({0, lsn, lsn, 1, 0, value});
  std::string bytes;
  const std::size_t taken = AppendArchiveRows(rows, &bytes);
  EXPECT_LT(taken, 100U);
  EXPECT_GT(taken, 60U);
  EXPECT_LE(bytes.size(), kArchivePrefixBytes + kArchivePayloadBytesMax);
  EXPECT_EQ(Decoded(bytes), StatusCode::kOk);
}

}  // namespace
}  // namespace chronolith

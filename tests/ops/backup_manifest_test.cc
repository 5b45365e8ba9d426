#include "ops/backup_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/checksum.h"

namespace chronolith::ops {
namespace {

BackupManifest Example() {
  return {.id = "20261122T010203Z-0007",
          .uuid = "00112233445566778899aabbccddeeff",
          .incarnation = 0xffffffffffffffff,
          .shards = 16,
          .engine = "rocksdb",
          .taken_ms = 1'700'000'000'000,
          .parent = "20261121T010203Z-0006",
          .files = {{"data/000012.sst", 1ULL << 40, 0xdeadbeef, true}, {"log/CURRENT", 16, 7, false}, {"STORE", 99, 0, false}}};
}

// The text with a right checksum at its end.
std::string Sealed(const std::string& body) {
  char end[16];
  std::snprintf(end, sizeof(end), "end %08x\n", Crc32c(body));
  return body + end;
}

std::string BodyOf(const BackupManifest& manifest) {
  const std::string text = EncodeBackupManifest(manifest);
  return text.substr(0, text.rfind("end "));
}

TEST(BackupManifest, ReadsWhatItWrote) {
  BackupManifest manifest = Example();
  EXPECT_EQ(DecodeBackupManifest(EncodeBackupManifest(manifest)).value(), manifest);
  manifest.parent = "";
  manifest.files.clear();
  EXPECT_EQ(DecodeBackupManifest(EncodeBackupManifest(manifest)).value(), manifest);
}

TEST(BackupManifest, RefusesEveryCutAndEveryFlippedBit) {
  const std::string text = EncodeBackupManifest(Example());
  for (std::size_t n = 0; n < text.size(); ++n) EXPECT_FALSE(DecodeBackupManifest(text.substr(0, n)).ok()) << n;
  for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const Result<BackupManifest> decoded = DecodeBackupManifest(flipped);
    // Hexadecimal digits of the last line may change their case.
    EXPECT_TRUE(!decoded.ok() || *decoded == Example()) << bit;
  }
}

TEST(BackupManifest, NamesLeadNowhereElse) {
  for (const char* name : {"/etc/passwd", "data/../../x", "data/..", "data/.", "data/", "data", "data/a/b", "../STORE", "BACKUP",
                           "logs/000001.log", "data//x"}) {
    BackupManifest manifest = Example();
    manifest.files[0].name = name;
    EXPECT_EQ(DecodeBackupManifest(EncodeBackupManifest(manifest)).status().code(), StatusCode::kDataLoss) << name;
  }
}

TEST(BackupManifest, RefusesMalformedLines) {
  const std::string body = BodyOf(Example());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = body;
    text.replace(text.find(from), from.size(), to);
    return Sealed(text);
  };
  ASSERT_TRUE(DecodeBackupManifest(Sealed(body)).ok());
  EXPECT_EQ(DecodeBackupManifest(with("backup 1", "backup 2")).status().code(), StatusCode::kFailedPrecondition);
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"id 2026", "id 20x6"},
                                                                                 {"taken 17", "taken x17"},
                                                                                 {"rocksdb", "rocks db"},
                                                                                 {" table", " tabl"},
                                                                                 {"deadbeef", "deadbee"},
                                                                                 {"parent ", "parent"},
                                                                                 {"16 rocksdb", "99999999999 rocksdb"},
                                                                                 {"file log", "more log"},
                                                                                 {"STORE 99 ", "STORE -99 "}}) {
    EXPECT_EQ(DecodeBackupManifest(with(from, to)).status().code(), StatusCode::kDataLoss) << to;
  }
}

TEST(BackupManifest, IdsTellTheirNumber) {
  EXPECT_EQ(BackupId(1'795'309'323'000, 7), "20261122T010203Z-0007");
  EXPECT_EQ(BackupNumber("20261122T010203Z-0007"), 7U);
  EXPECT_EQ(BackupNumber(BackupId(0, 123'456)), 123'456U);
  for (const char* id : {"", "LOCK", "20261122T010203Z-", "20261122T010203Z-000x", "20261122T010203Z-0000", "20261122-0007", "..",
                         "20261122T010203Z-0007 "}) {
    EXPECT_EQ(BackupNumber(id), 0U) << id;
  }
}

}  // namespace
}  // namespace chronolith::ops

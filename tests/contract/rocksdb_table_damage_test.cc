// Bits of a small table file are flipped, from its first to its last. The end of a table (properties block, metaindex block,
// footer) RocksDB takes apart before it has checked it, or without: seed 5851 of tests/crash/bit_flip_test, the top bit of the
// count of restarts of a properties block, aborted the process.
//
//   rocksdb_table_damage_test --every 1    the full run: each bit
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "plugins/rocksdb/rocksdb_engine.h"
#include "tests/contract/engine_fixture.h"
#include "tests/support/files.h"
#include "tests/support/number_range.h"
#include "tests/support/temp_directory.h"
#include "tests/support/verify_files.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;

std::size_t every = 1;  // of so many bits one is flipped

constexpr int kRows = 20;
constexpr FamilyId kGood = 0;
constexpr FamilyId kBad = 1;

// Two families of one role with a table each.
class RocksDbTableDamage : public testing::TestWithParam<FamilyRole> {
 protected:
  RocksDbTableDamage() {
    options_.instance = InstanceRole::kData;
    options_.write_buffer_bytes = 4UL << 20;
    for (const char* name : {"good", "bad"}) options_.families.push_back({name, GetParam()});
    auto engine = Open(false);
    for (const FamilyId f : {kGood, kBad}) {
      for (int i = 0; i < kRows; ++i) {
        const std::string key = Key(i);
        const std::string value = Value(i);
        const Op op = PutOp(key, value);
        const Batch batch{f, "", 1, std::span(&op, 1)};
        EXPECT_TRUE((*engine)->Write(std::span(&batch, 1), {}).at(0).ok());
      }
      EXPECT_TRUE((*engine)->Flush(f).ok());
    }
    for (const auto& entry : fs::directory_iterator(path_)) {
      if (entry.path().extension() == ".sst") table_ = std::max(table_, entry.path().string());
    }
    bytes_ = ReadFile(table_);
    engine->reset();
    fs::copy(path_, made_);
  }

  static std::string Key(int i) { return "key" + std::to_string(100 + i); }
  static std::string Value(int i) { return "value" + std::to_string(i * i); }

  Result<std::unique_ptr<KvEngine>> Open(bool quarantine) {
    options_.quarantine = quarantine;
    return MakeRocksDbEngineFactory()->Open(path_, options_);
  }
  // Whether all rows are there. A wrong row, or one too few, is an error.
  static bool ReadsAllRows(KvEngine* engine, FamilyId family, Status* error) {
    auto cursor = engine->NewIterator(family, {});
    if (!cursor.ok()) return *error = cursor.status(), false;
    int i = 0;
    for ((*cursor)->Seek(""); (*cursor)->Valid(); (*cursor)->Next(), ++i) {
      EXPECT_EQ((*cursor)->key(), Key(i));
      EXPECT_EQ((*cursor)->value(), Value(i));
    }
    *error = (*cursor)->status();
    EXPECT_TRUE(i == kRows || !error->ok());
    return i == kRows && error->ok();
  }
  bool NamesTheTable(const Status& s) const {
    return s.code() == StatusCode::kDataLoss && s.message().find(fs::path(table_).filename()) != std::string::npos;
  }
  std::string Flipped(std::size_t bit) const {
    std::string flipped = bytes_;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1U << bit % 8));
    return flipped;
  }

  // Every open leaves a log file that a damaged family pins.
  void StartAnew() const {
    fs::remove_all(path_);
    fs::copy(made_, path_);
  }

  testing_support::TempDirectory directory_;
  const std::string made_ = directory_ / "made";
  const std::string path_ = directory_ / "db";
  EngineOptions options_;
  std::string table_;  // of the family "bad"
  std::string bytes_;
};

TEST_P(RocksDbTableDamage, AFlippedBitQuarantinesTheFamilyIsToldByAReadOrMeansNothing) {
  // The first of the properties, behind the three lengths of its row. Only the metaindex block and the footer follow them.
  const std::size_t end_of_blocks = bytes_.find("rocksdb.block.based.table.index.type") - 3;
  ASSERT_LT(end_of_blocks, bytes_.size());
  int quarantined = 0, told = 0, harmless = 0;
  for (std::size_t bit = 0; bit < 8 * bytes_.size() && !HasFailure(); bit += every) {
    SCOPED_TRACE("byte " + std::to_string(bit / 8) + " of " + std::to_string(bytes_.size()) + ", bit " + std::to_string(bit % 8));
    StartAnew();
    WriteFile(table_, Flipped(bit));
    auto engine = Open(true);
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    Status error;
    EXPECT_TRUE((*engine)->Damage(kGood).ok());
    EXPECT_TRUE(ReadsAllRows(engine->get(), kGood, &error)) << error.ToString();
    const Status damage = (*engine)->Damage(kBad);
    if (!damage.ok()) {
      ++quarantined;
      EXPECT_TRUE(NamesTheTable(damage)) << damage.ToString();
    } else if (ReadsAllRows(engine->get(), kBad, &error)) {
      ++harmless;
    } else {
      ++told;
      EXPECT_EQ(error.code(), StatusCode::kDataLoss) << error.ToString();
      EXPECT_LT(bit / 8, end_of_blocks) << "what an open reads is found by the open";
    }
    engine->reset();
    if (bit / every % 4 != 0) continue;
    const auto strict = Open(false);
    EXPECT_EQ(strict.ok(), damage.ok());
    EXPECT_TRUE(strict.ok() || NamesTheTable(strict.status())) << strict.status().ToString();
  }
  std::printf("%d quarantined, %d told by a read, %d without effect\n", quarantined, told, harmless);
  EXPECT_GT(quarantined, 0);
  EXPECT_GT(told, 0);
  WriteFile(table_, bytes_);
  auto engine = Open(true);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  EXPECT_TRUE((*engine)->Damage(kBad).ok());
}

// The bits that once aborted the process, or made RocksDB believe that no block has a checksum.
TEST_P(RocksDbTableDamage, TheWorstBitsAreRefused) {
  const std::size_t footer = bytes_.size() - 53;
  // The metaindex block begins with the row of a filter or of the properties, behind three lengths; the checksum of the properties
  // block and its compression type are in front, and in front of those its count of restarts.
  const std::size_t row = bytes_.rfind("rocksdb.properties");
  ASSERT_LT(row, footer);
  std::size_t metaindex = row - 3;
  for (const char* filter : {"fullfilter.", "partitionedfilter."}) {
    if (const std::size_t at = bytes_.rfind(filter); at != std::string::npos) metaindex = std::min(metaindex, at - 3);
  }
  for (const std::size_t bit : {8 * (metaindex - 5) - 1,  // the top one of the count
                                8 * footer + 2,           // XXH3 -> no checksums
                                8 * (footer + 41)}) {     // format 5 -> 4
    SCOPED_TRACE("byte " + std::to_string(bit / 8) + " of " + std::to_string(bytes_.size()));
    WriteFile(table_, Flipped(bit));
    EXPECT_TRUE(NamesTheTable(Open(false).status()));
    for (const bool read_only : {true, false}) {
      options_.read_only = read_only;
      const auto engine = Open(true);
      ASSERT_TRUE(engine.ok()) << engine.status().ToString();
      EXPECT_TRUE(NamesTheTable((*engine)->Damage(kBad)));
      EXPECT_TRUE(NamesTheTable(VerifyFiles(engine->get(), kBad))) << VerifyFiles(engine->get(), kBad).ToString();
      EXPECT_TRUE(VerifyFiles(engine->get(), kGood).ok());
    }
  }
}

TEST_P(RocksDbTableDamage, OfAFileThatNoFamilyHasIsNoMatter) {
  const std::string left_over = path_ + "/000900.sst";
  WriteFile(left_over, bytes_.substr(0, bytes_.size() - 1));
  auto engine = Open(false);
  ASSERT_TRUE(engine.ok()) << engine.status().ToString();
  Status error;
  EXPECT_TRUE(ReadsAllRows(engine->get(), kBad, &error)) << error.ToString();
}

INSTANTIATE_TEST_SUITE_P(Roles, RocksDbTableDamage, testing::Values(FamilyRole::kIndex, FamilyRole::kChunk, FamilyRole::kMeta),
                         [](const auto& role) {
                           switch (role.param) {
                             case FamilyRole::kIndex:
                               return "Index";
                             case FamilyRole::kChunk:
                               return "Chunk";
                             default:
                               return "Meta";
                           }
                         });

}  // namespace
}  // namespace chronolith

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  chronolith::every = std::max<std::size_t>(1, chronolith::NumberOf(argc, argv, "--every", 37, 1));
  return RUN_ALL_TESTS();
}

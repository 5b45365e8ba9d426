// The file UNFINISHED: what it says, and what it stands for where it does not read.
#include "storage/unfinished.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_directory.h"

namespace chronolith {
namespace {

class UnfinishedFile : public testing::Test {
 protected:
  Unfinished Read() const {
    Result<Unfinished> read = ReadUnfinished(dir_.path(), 4);
    EXPECT_EQ(read.status(), Status::Ok());
    return read.ok() ? std::move(*read) : Unfinished();
  }
  void Write(const std::string& text) const { std::ofstream(dir_.path() + "/UNFINISHED") << text; }

  const testing_support::TempDirectory dir_;
};

TEST_F(UnfinishedFile, ReadsWhatIsWrittenAndGoesWithItsLastWord) {
  EXPECT_TRUE(Read().empty());
  const Unfinished written{.ends = {0, 3}, .tables = {1, 3}, .stored_whole = {{2, 0}, {3, ~Lsn{0}}}};
  ASSERT_EQ(WriteUnfinished(dir_.path(), written), Status::Ok());
  Unfinished read = Read();
  EXPECT_EQ(read.ends, written.ends);
  EXPECT_EQ(read.tables, written.tables);
  EXPECT_EQ(read.stored_whole, written.stored_whole);
  EXPECT_EQ(read.StoredWhole(0, 7), 7U);
  EXPECT_EQ(read.StoredWhole(2, 7), 0U);
  EXPECT_EQ(read.StoredWhole(3, 7), 7U);
  for (const ShardId shard : {0, 1, 2, 3}) {
    EXPECT_TRUE(read.Contains(shard)) << shard;
    read.Erase(shard);
    EXPECT_FALSE(read.Contains(shard)) << shard;
  }
  ASSERT_EQ(WriteUnfinished(dir_.path(), read), Status::Ok());
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/UNFINISHED"));
}

TEST_F(UnfinishedFile, StandsForAllShardsWhereItDoesNotRead) {
  for (const char* text : {"", "x", "4 ", "4t", "1 x", "t", "1tt", "1t2", "-1", "1 2x 3t", "99999999999999999999", "1-", "-", "4-1",
                           "1-x", "1t-1", "1-1t", "1-1 1-2"}) {
    Write(text);
    EXPECT_EQ(Read().ends, (std::set<ShardId>{0, 1, 2, 3})) << text;
  }
}

}  // namespace
}  // namespace chronolith

// FilesAhead: the reader is not far ahead, the worker need not wait for the end of a large shard, and neither is ever left waiting.
#include "ops/verify_ahead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace chronolith::ops {
namespace {

constexpr std::uint64_t kPiece = 10;

struct Sizes {
  std::uint64_t files;  // of a shard, in pieces
  std::uint64_t rows;   // what its rows are shown as
};

// A reader and a worker with these shards. Returns how far the reader was ahead at most.
std::int64_t RunPair(const std::vector<Sizes>& shards, std::uint64_t ahead_max) {
  FilesAhead<std::size_t> files(ahead_max);
  std::atomic<std::int64_t> rows_done{0};
  std::int64_t ahead_most = 0;
  std::thread reader([&] {
    std::int64_t read = 0;
    for (std::size_t i = 0; i < shards.size(); ++i) {
      files.Begin(i);
      for (std::uint64_t n = 0; n < shards[i].files; ++n) {
        read += kPiece;
        files.Read(kPiece);
        ahead_most = std::max(ahead_most, read - rows_done.load());
      }
      files.Finish(100 + i);
    }
    files.End();
  });
  std::vector<std::size_t> seen;
  while (const auto shard = files.Next()) {
    seen.push_back(*shard);
    for (std::uint64_t n = 0; n < shards[*shard].rows; ++n) {
      rows_done += kPiece;
      files.Follow(kPiece);
    }
    rows_done += (static_cast<std::int64_t>(shards[*shard].files) - static_cast<std::int64_t>(shards[*shard].rows)) *
                 static_cast<std::int64_t>(kPiece);
    EXPECT_EQ(files.Take(), 100 + *shard);
  }
  files.Leave();
  reader.join();
  EXPECT_EQ(seen.size(), shards.size());
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], i);
  return ahead_most;
}

TEST(FilesAhead, TheReaderIsAheadByNoMoreThanTheBound) {
  for (int round = 0; round < 20; ++round) {
    EXPECT_LE(RunPair(std::vector<Sizes>(200, {7, 7}), 50), 50);
  }
}

TEST(FilesAhead, NeitherIsLeftWaitingWhateverTheSizesAre) {
  const std::vector<std::vector<Sizes>> cases = {
      {},
      {{0, 0}},
      {{1, 0}, {0, 5}, {1000, 0}, {0, 0}, {3, 1000}},  // files without rows, rows that are more than their files
      {{1000, 1000}},
      {{1000, 0}, {1000, 0}},
      {{1, 1}, {500, 500}, {1, 1}, {500, 3}},
  };
  for (const std::vector<Sizes>& shards : cases) {
    for (const std::uint64_t ahead_max : {0, 1, 100, 1'000'000}) RunPair(shards, ahead_max);
  }
}

TEST(FilesAhead, RowsOfALargeShardAreGivenOutBeforeItsFilesAreRead) {
  FilesAhead<int> files(100);
  std::atomic<bool> read{false};
  std::thread reader([&] {
    files.Begin(5);
    files.Read(60);
    files.Read(60);  // waits
    read = true;
    files.Finish(1);
    files.End();
  });
  EXPECT_EQ(files.Next(), 5U);
  EXPECT_FALSE(read);
  files.Follow(60);
  EXPECT_EQ(files.Take(), 1);
  EXPECT_TRUE(read);
  EXPECT_EQ(files.Next(), std::nullopt);
  reader.join();
}

TEST(FilesAhead, AWorkerThatLeavesLetsTheReaderEnd) {
  FilesAhead<int> files(100);
  std::thread reader([&] {
    for (std::size_t shard = 0; shard < 3; ++shard) {
      files.Begin(shard);
      files.Read(1000);
      files.Finish(0);
    }
    files.End();
  });
  EXPECT_EQ(files.Next(), 0U);
  files.Leave();
  reader.join();
}

}  // namespace
}  // namespace chronolith::ops

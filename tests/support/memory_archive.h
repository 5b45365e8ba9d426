// A LogArchiver that keeps what it is given in memory, and refuses when told to.
#ifndef CHRONOLITH_TESTS_SUPPORT_MEMORY_ARCHIVE_H_
#define CHRONOLITH_TESTS_SUPPORT_MEMORY_ARCHIVE_H_

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "chronolith/log_archiver.h"

namespace chronolith {

class MemoryArchive : public LogArchiver {
 public:
  struct Row {
    Lsn last_lsn = 0;
    std::uint64_t epoch = 0;
    std::int64_t write_time_ms = 0;
    std::string value;
    friend bool operator==(const Row&, const Row&) = default;
  };
  using Rows = std::map<Lsn, Row>;  // by first LSN

  Status Archive(std::span<const ArchivedRow> rows) override {
    MutexLock lock(&mu_);
    ++calls_;
    EXPECT_FALSE(rows.empty());
    if (takes_ == 0) return Unavailable("the archive is away");
    --takes_;
    for (const ArchivedRow& row : rows) {
      EXPECT_EQ(row.shard, rows.front().shard) << "rows of two shards in one call";
      const Row kept{row.last_lsn, row.epoch, row.write_time_ms, std::string(row.value)};
      const auto [at, is_new] = shards_[row.shard].emplace(row.first_lsn, kept);
      EXPECT_TRUE(is_new || at->second == kept) << "a row has changed";
      if (!is_new) ++repeated_;
    }
    return Status::Ok();
  }
  void OnGap(std::uint32_t shard, Lsn first_lsn, Lsn last_lsn) override {
    MutexLock lock(&mu_);
    gaps_[shard].emplace_back(first_lsn, last_lsn);
  }

  // The next `n` calls succeed, those after it fail.
  void Take(int n) {
    MutexLock lock(&mu_);
    takes_ = n;
  }
  Rows rows(std::uint32_t shard) {
    MutexLock lock(&mu_);
    return shards_[shard];
  }
  std::vector<std::pair<Lsn, Lsn>> gaps(std::uint32_t shard) {
    MutexLock lock(&mu_);
    return gaps_[shard];
  }
  int calls() {
    MutexLock lock(&mu_);
    return calls_;
  }
  int repeated() {
    MutexLock lock(&mu_);
    return repeated_;
  }
  void Forget() {
    MutexLock lock(&mu_);
    shards_.clear();
  }

 private:
  Mutex mu_;
  int takes_ ABSL_GUARDED_BY(mu_) = 1 << 30;
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
  int repeated_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::uint32_t, Rows> shards_ ABSL_GUARDED_BY(mu_);
  std::map<std::uint32_t, std::vector<std::pair<Lsn, Lsn>>> gaps_ ABSL_GUARDED_BY(mu_);
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_SUPPORT_MEMORY_ARCHIVE_H_

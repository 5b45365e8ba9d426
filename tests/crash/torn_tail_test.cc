// The end of the log is torn at every place of its last 64 KiB: cut short, or followed by zeroes or garbage.
//
// The reader finds exactly the records in front of the tear, byte for byte, wherever it is. A store opened over it holds exactly
// the writes in front of it, each sample with its value, and after 1,000 more acknowledged writes and a crash those as well.
// (tests/storage/torn_log_test.cc has what is refused, and what is kept aside.)
//
//   torn_tail_test --every 1 --reopen 2000    the full run: the reader at every byte; whole stores at each end of a record and a
//                                             byte to both sides, and at 2,000 random places
#include <gtest/gtest.h>
#include <rocksdb/env.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "plugins/rocksdb/log_scan.h"
#include "tests/contract/seed.h"
#include "tests/crash/faulty_store.h"
#include "tests/support/files.h"
#include "tests/support/number_range.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;

std::uint64_t every = 1;   // so many bytes the reader looks
std::uint64_t reopen = 1;  // random places at which a store is opened

constexpr Timestamp kT = 1'700'000'000'000;
constexpr std::size_t kTailBytes = 64 << 10;
constexpr const char* kKinds[] = {"cut short", "zeroes", "garbage"};

class TornTail : public testing::Test {
 protected:
  TornTail() : made_(store_.directory() / "made"), rng_(TestSeed()) {
    EXPECT_TRUE(store_.Open().ok());
    const std::string log = Log(store_.path());
    // Records of one fragment and of several, some longer than a block of RocksDB's log.
    while (ends_.empty() || ends_.back() < kTailBytes + (40 << 10)) {
      const std::uint64_t kind = rng_() % 10;
      const std::size_t samples = kind == 0 ? 1200 : kind < 3 ? 200 : 1 + rng_() % 5;
      const int series = static_cast<int>(rng_() % 7);
      TimeSeries one;
      one.labels = ModelSeries(series);
      for (std::size_t i = 0; i < samples; ++i) {
        one.samples.push_back({kT + next_++, std::ldexp(static_cast<double>(rng_()), -3)});
        points_.push_back({series, one.samples.back().timestamp, one.samples.back().value});
      }
      EXPECT_TRUE(store_->Write(one).ok());
      ends_.push_back(fs::file_size(log));
      samples_.push_back(points_.size());
    }
    fs::copy(store_.path(), made_, fs::copy_options::recursive);  // nobody writes to it now
    bytes_ = ReadFile(Log(made_));
    EXPECT_EQ(bytes_.size(), ends_.back());
    store_.Abandon();
  }

  static std::string Log(const std::string& store) {
    std::string newest;
    for (const auto& entry : fs::directory_iterator(store + "/log")) {
      if (entry.path().extension() == ".log") newest = std::max(newest, entry.path().string());
    }
    return newest;
  }

  // The log torn at `at`.
  std::string Torn(std::size_t at, int kind) {
    std::string bytes = bytes_.substr(0, at);
    if (kind == 1) bytes.append(bytes_.size() - at + 40'000, '\0');
    for (std::size_t i = 0; kind == 2 && i < bytes_.size() - at + 3000; ++i) bytes.push_back(static_cast<char>(0x80 | rng_()));
    return bytes;
  }

  // How many writes lie whole in front of the tear. It begins with the first byte that is not as it was.
  std::size_t Whole(const std::string& torn) const {
    const auto [as_it_was, is] = std::mismatch(bytes_.begin(), bytes_.end(), torn.begin(), torn.end());
    const auto begin = static_cast<std::size_t>(as_it_was - bytes_.begin());
    return static_cast<std::size_t>(std::count_if(ends_.begin(), ends_.end(), [&](std::size_t end) { return end <= begin; }));
  }

  // What so many writes have left.
  ShardModel::Contents After(std::size_t writes) const {
    ShardModel::Contents contents;
    for (std::size_t i = 0; i < samples_[writes - 1]; ++i) contents[points_[i].series][points_[i].t] = points_[i].value;
    return contents;
  }

  // Whether the store holds that, each sample with its series, time and value, and nothing else.
  testing::AssertionResult Holds(const ShardModel::Contents& expected) {
    ShardModel::Contents found;
    Status status;
    if (!ReadContents(store_.get(), &found, &status)) return testing::AssertionFailure() << status.ToString();
    if (found == expected) return testing::AssertionSuccess();
    const auto count = [](const ShardModel::Contents& contents) {
      std::size_t n = 0;
      for (const auto& [series, points] : contents) n += points.size();
      return n;
    };
    return testing::AssertionFailure() << count(found) << " samples, " << count(expected) << " expected: not the same";
  }

  FaultyStore store_;
  const std::string made_;
  std::mt19937_64 rng_;
  std::vector<std::size_t> ends_;     // of the log, after each write
  std::vector<ModelPoint> points_;    // written, in that order
  std::vector<std::size_t> samples_;  // how many of them, after each write
  std::string bytes_;                 // of the log
  Timestamp next_ = 0;
};

TEST_F(TornTail, AtAnyByteLeavesTheReaderExactlyTheRecordsBeforeIt) {
  const std::string file = store_.directory() / "log";
  std::vector<std::string> records;
  WriteFile(file, bytes_);
  LogScanCallbacks listing;
  listing.on_record = [&](std::string_view record) { records.emplace_back(record); };
  listing.on_damage = [](const DamagedBytes&) { ADD_FAILURE() << "the log is sound"; };
  ASSERT_TRUE(ScanLogFile(rocksdb::Env::Default(), file, true, listing).ok());
  ASSERT_GE(records.size(), ends_.size());
  const std::size_t before = records.size() - ends_.size();  // written by the opening
  std::uint64_t places = 0;
  for (int kind = 0; kind < 3; ++kind) {
    for (std::size_t at = bytes_.size() - kTailBytes; at < bytes_.size(); at += every) {
      const std::string torn = Torn(at, kind);
      WriteFile(file, torn);
      std::size_t found = 0;
      std::size_t same = 0;  // of them, byte by byte
      LogScanCallbacks callbacks;
      callbacks.on_record = [&](std::string_view record) {
        same += found < records.size() && records[found] == record ? 1 : 0;
        ++found;
      };
      callbacks.on_damage = [](const DamagedBytes&) {};
      ASSERT_TRUE(ScanLogFile(rocksdb::Env::Default(), file, true, callbacks).ok());
      const std::size_t whole = before + Whole(torn);
      ASSERT_EQ(found, whole) << kKinds[kind] << " at byte " << at;
      ASSERT_EQ(same, whole) << kKinds[kind] << " at byte " << at;
      ++places;
    }
  }
  std::printf("reader: %llu torn logs of %zu bytes and %zu records\n", static_cast<unsigned long long>(places), bytes_.size(),
              records.size());
}

TEST_F(TornTail, IsCutAndAThousandMoreWritesStay) {
  std::vector<std::size_t> places;
  const bool full = reopen >= 1000;
  const std::size_t begin = bytes_.size() - kTailBytes;
  for (std::size_t i = 0; i < ends_.size(); ++i) {
    if (ends_[i] < begin || ends_[i] + 1 >= bytes_.size() || (!full && rng_() % (ends_.size() / 4) != 0)) continue;
    for (const std::size_t at : {ends_[i] - 1, ends_[i], ends_[i] + 1}) places.push_back(at);
  }
  for (std::uint64_t i = 0; i < reopen; ++i) places.push_back(begin + rng_() % kTailBytes);
  int kept = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::size_t at = places[i];
    const int kind = static_cast<int>(i % 3 + i / 3) % 3;
    SCOPED_TRACE(std::string(kKinds[kind]) + " at byte " + std::to_string(at) + " of " + std::to_string(bytes_.size()));
    store_.StartFrom(made_);
    const std::string torn = Torn(at, kind);
    WriteFile(Log(store_.path()), torn);
    const Status opened = store_.Open();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
    ShardModel::Contents expected = After(Whole(torn));
    ASSERT_TRUE(Holds(expected));
    for (const auto& entry : fs::directory_iterator(store_.path() + "/log")) kept += entry.is_directory() ? 1 : 0;
    for (int n = 0; n < 1000; ++n) {
      const int series = n % 9;
      TimeSeries one;
      one.labels = ModelSeries(series);
      one.samples = {{kT + next_ + n, 1.0 * n}};
      expected[series][kT + next_ + n] = 1.0 * n;
      ASSERT_TRUE(store_->Write(one).ok());
    }
    // A kill: the files as they are now. No call changes one meanwhile, also not from the background.
    store_.disk().Inject({1, FaultKind::kIoError, true});
    const std::string image = store_.directory() / "image";
    fs::copy(store_.path(), image, fs::copy_options::recursive);
    store_.StartFrom(image);
    store_.disk().Inject({});
    fs::remove_all(image);
    ASSERT_TRUE(store_.Open().ok());
    ASSERT_TRUE(Holds(expected));
  }
  std::printf("stores: %zu torn logs, %d of them kept aside; 1,000 writes behind each stayed\n", places.size(), kept);
}

}  // namespace
}  // namespace chronolith

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  chronolith::every = std::max<std::uint64_t>(1, chronolith::NumberOf(argc, argv, "--every", 101, 1));
  chronolith::reopen = chronolith::NumberOf(argc, argv, "--reopen", 12, 2000);
  return RUN_ALL_TESTS();
}

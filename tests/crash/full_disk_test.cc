// FullDisk: a store on a small tmpfs that fills up, again and again, and is given room later.
//
//   full_disk_test [--cycles=N] [gtest's flags]
//
// The file system is mounted in a namespace of the process's own and goes with it.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <random>

#include "tests/contract/seed.h"
#include "tests/crash/model.h"
#include "tests/support/skip.h"
#include "tests/support/small_disk.h"
#include "tests/support/temp_directory.h"

namespace chronolith::crash {
namespace {

constexpr std::uint64_t kDiskBytes = 48 << 20;
constexpr std::uint64_t kRoomBytes = 6 << 20;  // left for the store before it fills the disk
constexpr std::size_t kSeries = 20;
constexpr std::size_t kSamples = 500;  // a write
constexpr auto kResumeWithin = std::chrono::seconds(30);

int cycles = 5;
// --cycles: another program takes the rest of the disk at once, and the store is emptied every other cycle only.
bool harsh = false;

Options SmallOptions() {
  Options options;
  options.shards = 2;
  options.checkpoint_bytes = 1 << 20;
  options.checkpoint_interval_ms = 100;
  options.sync_interval_ms = 10;
  options.backpressure_wait_ms = 200;
  options.memory_limit_bytes = 64 << 20;
  options.background_threads = 2;
  options.scrub_interval_ms = 20;  // one pass follows the other
  return options;
}

using ::chronolith::testing::SmallDisk;

// All samples that were sent, and of which the store has said that it has them.
struct Sent {
  Contents sent;
  Contents acknowledged;
};

// What is wrong with what the store holds; "" where nothing is.
std::string Compare(Storage* store, const Sent& sent) {
  const Result<Contents> found = ReadAll(store);
  if (!found.ok()) return found.status().ToString();
  std::uint64_t lost = 0;
  std::uint64_t strange = 0;
  for (const auto& [labels, points] : sent.acknowledged) {
    const auto it = found->find(labels);
    for (const auto& [t, value] : points) {
      if (it == found->end() || !it->second.contains(t) || it->second.at(t) != value) ++lost;
    }
  }
  for (const auto& [labels, points] : *found) {
    const auto it = sent.sent.find(labels);
    for (const auto& [t, value] : points) {
      if (it == sent.sent.end() || !it->second.contains(t) || it->second.at(t) != value) ++strange;
    }
  }
  if (lost == 0 && strange == 0) return "";
  return std::to_string(lost) + " acknowledged samples lost, " + std::to_string(strange) + " never sent";
}

class Filler {
 public:
  Filler(Storage* store, std::uint64_t seed) : store_(store), rng_(seed) {}

  Status Write() {
    TimeSeries series{.labels = {{"__name__", "n"}, {"n", std::to_string(writes_ % kSeries)}}};
    for (std::size_t i = 0; i < kSamples; ++i) series.samples.push_back({kT + (++t_), static_cast<double>(rng_())});
    const WriteResult result = store_->Write(series, {.level = writes_++ % 4 == 0 ? AckLevel::kSynced : AckLevel::kLogged});
    for (const Sample& s : series.samples) {
      sent_.sent[series.labels][s.timestamp] = s.value;
      if (result.ok()) sent_.acknowledged[series.labels][s.timestamp] = s.value;
    }
    return result.status;
  }
  // Once the store has seen that there is room.
  Status WriteWhenItMay() {
    const auto until = std::chrono::steady_clock::now() + kResumeWithin;
    Status status = Write();
    while (status.code() == StatusCode::kResourceExhausted && std::chrono::steady_clock::now() < until) status = Write();
    return status;
  }
  const Sent& sent() const { return sent_; }
  // Empties the store, so that the next cycle has the room of the first: checkpoints and compaction work again, too.
  void Empty() {
    const WriteResult deleted = store_->Delete({Matcher::Equal("__name__", "n")}, {}, {.level = AckLevel::kSynced});
    EXPECT_TRUE(deleted.ok()) << deleted.status.ToString();
    const Status compacted = store_->Compact().status();  // a flush that met the full disk is made up for at once
    EXPECT_TRUE(compacted.ok()) << compacted.ToString();
    sent_ = {};
  }
  std::uint64_t writes() const { return writes_; }

 private:
  Storage* const store_;
  std::mt19937_64 rng_;
  std::uint64_t writes_ = 0;
  Timestamp t_ = 0;
  Sent sent_;
};

std::string disk_path;  // "": this machine does not let us mount one

TEST(FullDisk, ReadsGoOnWritesAreRefusedAndGoOnWhenThereIsRoomAndNothingAcknowledgedIsLost) {
  if (disk_path.empty()) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  SmallDisk disk(disk_path);
  auto store = Storage::Open(SmallOptions(), disk.Store());
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  Filler filler(store->get(), TestSeed());
  std::chrono::duration<double> longest{0};
  std::uint64_t refused = 0;
  int failed_logs = 0;
  for (int cycle = 0; cycle < cycles; ++cycle) {
    // Either the store itself comes near the end of its disk, or another takes all of it at once: then the log fails.
    const bool at_once = harsh && cycle % 2 == 1;
    disk.Crowd(at_once ? 0 : kRoomBytes);
    const auto expected = [&](StatusCode code) {
      return code == StatusCode::kResourceExhausted || (at_once && code == StatusCode::kUnavailable);
    };
    Status status;
    const std::uint64_t before = filler.writes();
    while (status.ok() && filler.writes() < before + 20'000) status = filler.Write();
    ASSERT_TRUE(expected(status.code())) << "cycle " << cycle << ": " << status.ToString();
    const std::string first_refusal = status.ToString();
    const std::uint64_t fitted = filler.writes() - before;
    EXPECT_EQ(Compare(store->get(), filler.sent()), "") << "cycle " << cycle << ", on the full disk";
    for (int i = 0; i < 3; ++i) {
      status = filler.Write();
      if (status.ok()) continue;  // there was a little room again
      ++refused;
      EXPECT_TRUE(expected(status.code())) << "cycle " << cycle << ": " << status.ToString();
    }
    // Whatever a host tries meanwhile, it can go on reading.
    const Result<ScrubReport> scrub = (*store)->Scrub();
    EXPECT_TRUE(scrub.ok()) << "cycle " << cycle << ": " << scrub.status().ToString();
    if (scrub.ok()) {
      for (const ScrubProblem& p : scrub->problems)
        ADD_FAILURE() << "cycle " << cycle << ": " << p.place << ": " << p.status.ToString();
    }
    if (status.code() == StatusCode::kUnavailable) {
      ++failed_logs;
      const Status reopened = (*store)->Reopen();
      EXPECT_TRUE(reopened.ok() || reopened.code() == StatusCode::kResourceExhausted)  // ok: a compaction has made room
          << "cycle " << cycle << ": " << reopened.ToString();
    }
    EXPECT_EQ(Compare(store->get(), filler.sent()), "") << "cycle " << cycle << ", on the full disk, after more writes";

    disk.MakeRoom();
    const auto start = std::chrono::steady_clock::now();
    std::chrono::duration<double> waited{0};
    Status reopened;
    for (status = filler.Write(); !status.ok() && waited < kResumeWithin; status = filler.Write()) {
      EXPECT_TRUE(expected(status.code())) << "cycle " << cycle << ": " << status.ToString();
      if (status.code() == StatusCode::kUnavailable) reopened = (*store)->Reopen();
      waited = std::chrono::steady_clock::now() - start;
    }
    const std::chrono::duration<double> resumed = std::chrono::steady_clock::now() - start;
    longest = std::max(longest, resumed);
    ASSERT_TRUE(status.ok()) << "cycle " << cycle << ", " << waited.count() << " s after there was room, " << disk.FreeBytes()
                             << " bytes: " << status.ToString() << "; Reopen: " << reopened.ToString();
    ASSERT_EQ(Compare(store->get(), filler.sent()), "") << "cycle " << cycle << ", with room again";
    std::printf("cycle %d: full after %llu writes, %s; resumed after %.3f s\n", cycle, static_cast<unsigned long long>(fitted),
                first_refusal.substr(0, 60).c_str(), resumed.count());
    if (!harsh || cycle % 2 == 1) filler.Empty();
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(refused, 0U);
  ASSERT_TRUE((*store)->Close().ok());
  std::printf("%d cycles: %llu writes refused, %d logs failed, resumed after %.3f s at most\n", cycles,
              static_cast<unsigned long long>(refused), failed_logs, longest.count());
}

// RocksDB alone would wait until as much is free as its largest memtable may hold, here 26 MiB.
TEST(FullDisk, ACheckpointThatMetAFullDiskGoesOnAsSoonAsThereIsRoomForWhatItStores) {
  if (disk_path.empty()) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  SmallDisk disk(disk_path);
  Options options = SmallOptions();
  options.checkpoint_interval_ms = 0;
  auto store = Storage::Open(options, disk.Store() + "2");
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  Filler filler(store->get(), TestSeed());
  // A file that the engine drops late may leave room enough for so little: then once more.
  const auto fill = [&] {
    Status full;
    for (int tries = 0; full.ok() && tries < 5; ++tries) {
      if (tries > 0) disk.MakeRoom();
      for (int i = 0; i < 40; ++i) EXPECT_TRUE(filler.WriteWhenItMay().ok());
      disk.Crowd(0);  // the log has its room already
      full = (*store)->Checkpoint();
    }
    return full;
  };
  const Status full = fill();
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted) << full.ToString();
  EXPECT_EQ(Compare(store->get(), filler.sent()), "");
  disk.MakeRoom();
  disk.Crowd(4 << 20);
  const Status again = (*store)->Checkpoint();
  EXPECT_TRUE(again.ok()) << again.ToString();
  EXPECT_EQ(Compare(store->get(), filler.sent()), "");
  // From here on RocksDB 7.8.3 says of each flush at once that it is done: the log was trimmed of what is in memory only.
  disk.MakeRoom();
  const Status full_again = fill();
  EXPECT_EQ(full_again.code(), StatusCode::kResourceExhausted) << full_again.ToString();
  disk.MakeRoom();
  const Status reopened = (*store)->Reopen();
  ASSERT_TRUE(reopened.ok()) << reopened.ToString();
  EXPECT_EQ(Compare(store->get(), filler.sent()), "");
  EXPECT_TRUE((*store)->Close().ok());
}

TEST(FullDisk, AScrubThatMetAFullDiskDoesNotKeepTheStoreFromGoingOnWhenThereIsRoom) {
  if (disk_path.empty()) CHRONOLITH_SKIP_HERE("cannot mount a file system");
  SmallDisk disk(disk_path);
  Options options = SmallOptions();
  options.checkpoint_interval_ms = 0;
  options.scrub_interval_ms = 0;
  auto store = Storage::Open(options, disk.Store() + "3");
  ASSERT_TRUE(store.ok()) << store.status().ToString();
  Filler filler(store->get(), TestSeed());
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(filler.Write().ok());
  const Status before = (*store)->Checkpoint();  // from here on the log of the data instance is a new file, without room of its own
  ASSERT_TRUE(before.ok()) << before.ToString();
  disk.Crowd(0);
  const Result<ScrubReport> report = (*store)->Scrub();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_TRUE(report->complete);
  EXPECT_EQ(report->problems_total, 0U);
  disk.MakeRoom();
  EXPECT_TRUE(filler.WriteWhenItMay().ok());
  const Status after = (*store)->Checkpoint();
  EXPECT_TRUE(after.ok()) << after.ToString();
  EXPECT_EQ(Compare(store->get(), filler.sent()), "");
  EXPECT_TRUE((*store)->Close().ok());
}

}  // namespace
}  // namespace chronolith::crash

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    constexpr std::string_view kCycles = "--cycles=";
    if (!arg.starts_with(kCycles) ||
        std::from_chars(arg.data() + kCycles.size(), arg.data() + arg.size(), chronolith::crash::cycles).ec != std::errc()) {
      std::fprintf(stderr, "unknown argument %s\n", argv[i]);
      return 2;
    }
    chronolith::crash::harsh = true;
  }
  chronolith::testing_support::TempDirectory directory;
  if (chronolith::testing::MountSmallDisk(directory.path(), chronolith::crash::kDiskBytes))
    chronolith::crash::disk_path = directory.path();
  const int rc = RUN_ALL_TESTS();
  if (!chronolith::crash::disk_path.empty()) umount(directory.path().c_str());
  return rc;
}

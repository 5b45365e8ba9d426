// "index.<k> is durable before any chunk.<k> row that uses its ordinals", and "nothing that covers LSN x enters the data instance
// before the log is synced past x": looked at in what a crash leaves.
#include <atomic>
#include <thread>

#include "format/chunk_rows.h"
#include "format/index_rows.h"
#include "index/postings_merge.h"
#include "tests/contract/seed.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

constexpr Timestamp kT = 1'700'000'000'000;

class CheckpointOrder : public testing::Test {
 protected:
  CheckpointOrder() {
    store_.options().max_samples_per_chunk = 16;
    store_.options().checkpoint_bytes = 1ULL << 30;
  }
  // New series, with closed chunks, while a checkpoint that was cut before them goes on.
  void WriteMore(int flush) {
    std::thread([&] {
      for (int i = 0; i < 12; ++i) {
        std::vector<Sample> samples;
        for (int s = 0; s < 40; ++s) samples.push_back({kT + s, 1.0 * s});
        store_.Write({{"__name__", "late"}, {"i", std::to_string(i)}, {"flush", std::to_string(flush)}}, std::move(samples),
                     late_level_);
      }
      store_.Write({{"__name__", "early"}}, {{kT + 1000, 1}}, late_level_);
    }).join();
  }
  // Chunk rows whose series the index of the same instance does not know; *rows counts all.
  std::size_t Unknown(std::size_t* rows) {
    EngineOptions options;
    options.create_if_missing = false;
    options.families.push_back({"meta", FamilyRole::kMeta, nullptr, nullptr});
    for (int i = 0; i < store_.options().shards; ++i) {
      options.families.push_back(
          {"index." + std::to_string(i), FamilyRole::kIndex, std::make_shared<PostingsMergeFunction>(), nullptr});
      options.families.push_back({"chunk." + std::to_string(i), FamilyRole::kChunk, nullptr, nullptr});
    }
    auto engine = store_.memory().Open(store_.path() + "/data", options);
    EXPECT_TRUE(engine.ok()) << engine.status().ToString();
    if (!engine.ok()) return 0;
    std::size_t unknown = 0;
    for (FamilyId family = 1; family + 1 < options.families.size(); family += 2) {
      std::uint64_t known = 0;
      std::string value;
      if ((*engine)->Get(family, index_rows::StateKey(), &value).ok()) {
        const auto state = index_rows::DecodeState(value);
        EXPECT_TRUE(state.ok());
        known = state->next_ordinal;
      }
      auto it = (*engine)->NewIterator(family + 1, {});
      EXPECT_TRUE(it.ok());
      for ((*it)->Seek(""); (*it)->Valid(); (*it)->Next()) {
        ChunkMeta meta;
        if (!DecodeChunkKey((*it)->key(), &meta)) continue;
        ++*rows;
        unknown += meta.ordinal >= known ? 1 : 0;
      }
    }
    return unknown;
  }

  Status OnCall(EngineMethod method, const std::string& path) {
    if (method == EngineMethod::kFlush && path.ends_with("/data")) {
      data_flushed_ = true;
      if (writing_.exchange(false)) WriteMore(++flushes_);
    }
    if (failing_ == Failing::kSyncsBehindAFlush && method == EngineMethod::kSyncLog && data_flushed_) return IoError("injected");
    if (failing_ == Failing::kTrim && method == EngineMethod::kFlush && path.ends_with("/log")) return IoError("injected");
    return Status::Ok();
  }

  enum class Failing { kNothing, kSyncsBehindAFlush, kTrim };
  std::atomic<Failing> failing_{Failing::kNothing};
  std::atomic<bool> data_flushed_{false};
  std::atomic<int> flushes_{0};
  std::atomic<bool> writing_{false};
  AckLevel late_level_ = AckLevel::kSynced;
  TestStore store_{"memory", {.seed = TestSeed(), .on_call = [this](EngineMethod method, const std::string& path) {
                                return OnCall(method, path);
                              }}};
};

TEST_F(CheckpointOrder, NoChunkRowComesBeforeItsSeriesRows) {
  std::size_t rows = 0;
  Contents expected;
  for (int round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    store_.Open();
    store_.Write({{"__name__", "early"}}, {{kT + round, 1}});
    for (int i = 0; i < 8; ++i) {
      store_.Write({{"__name__", "new"}, {"i", std::to_string(i)}, {"round", std::to_string(round)}}, {{kT, 1}}, AckLevel::kSynced);
    }
    writing_ = true;  // at the checkpoint's first flush, which is the index's
    if (round % 2 == 0) {
      store_.Checkpoint();
    } else {
      // The second flush, which is the chunks', is cut off between any two families.
      store_.memory().CrashDuringCall(EngineMethod::kFlush, 2, CrashKind::kPowerLoss);
      EXPECT_FALSE(store_->Checkpoint().ok());
    }
    EXPECT_EQ(flushes_.load(), round + 1);
    store_.memory().CrashAll(CrashKind::kPowerLoss);
    EXPECT_EQ(Unknown(&rows), 0U);
    store_.Open();
    const Contents contents = store_.Read();
    EXPECT_EQ(contents.size(), 1U + (8U + 12U) * static_cast<std::size_t>(round + 1));
    for (const auto& [labels, points] : contents) {
      const bool early = labels.find("early") != std::string::npos;
      EXPECT_EQ(points.size(), early                                      ? static_cast<std::size_t>(round + 2)
                               : labels.find("late") != std::string::npos ? 40U
                                                                          : 1U)
          << labels;
    }
    store_.Checkpoint();
    store_.Close();
  }
  EXPECT_GT(rows, 100U);
}

TEST_F(CheckpointOrder, TheIndexIsStoredBehindASyncOfWhatItCovers) {
  store_.Open();
  constexpr int kWrites = 64;  // a power loss may leave some of what was not synced, but hardly all
  for (int i = 0; i < kWrites; ++i) store_.Write({{"__name__", "early"}, {"i", std::to_string(i)}}, {{kT, 1}}, AckLevel::kLogged);
  failing_ = Failing::kSyncsBehindAFlush;
  data_flushed_ = false;
  EXPECT_FALSE(store_->Checkpoint().ok());
  EXPECT_TRUE(data_flushed_) << "of the index";
  failing_ = Failing::kNothing;
  store_.LosePower();  // the index must not say that it covers what the log has lost
  EXPECT_EQ(store_.Read().size(), static_cast<std::size_t>(kWrites));
}

// What is written between the cut and the copy of a chunk may be stored with it, so it is synced first.
TEST_F(CheckpointOrder, ChunksAreStoredBehindASyncOfWhatTheyMayHold) {
  store_.options().shards = 1;
  late_level_ = AckLevel::kLogged;
  store_.Open();
  store_.Write({{"__name__", "early"}}, {{kT, 1}});
  writing_ = true;
  failing_ = Failing::kTrim;
  EXPECT_FALSE(store_->Checkpoint().ok());
  EXPECT_EQ(flushes_.load(), 1);
  failing_ = Failing::kNothing;
  store_.LosePower();
  // The sample of the early series was the last to be logged: where it is there, all that came before it is.
  const Contents contents = store_.Read();
  EXPECT_EQ(contents.size(), 13U);
  for (const auto& [labels, points] : contents) {
    EXPECT_EQ(points.size(), labels.find("early") != std::string::npos ? 2U : 40U) << labels;
  }
}

}  // namespace
}  // namespace chronolith

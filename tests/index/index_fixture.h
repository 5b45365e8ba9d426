// What the index tests share: an engine with one index family, and label sets.
#ifndef CHRONOLITH_TESTS_INDEX_INDEX_FIXTURE_H_
#define CHRONOLITH_TESTS_INDEX_INDEX_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "index/index_shard.h"
#include "index/postings_merge.h"
#include "plugins/memory/memory_engine.h"
#include "tests/contract/seed.h"
#include "tests/support/engines.h"

namespace chronolith {

inline EngineOptions IndexEngineOptions() {
  EngineOptions options;
  options.families = {{.name = "index.0",
                       .role = FamilyRole::kIndex,
                       .merge = std::make_shared<PostingsMergeFunction>(),
                       .drop_filter = std::make_shared<EmptyPostingsFilter>()}};
  return options;
}

// Valid as long as `labels`.
inline SeriesKey KeyOf(const Labels& labels) { return {StableHash(labels.encoded()), labels.encoded()}; }

inline std::vector<CompiledMatcher> Compiled(const std::vector<Matcher>& matchers) {
  std::vector<CompiledMatcher> compiled;
  const Status s = CompiledMatcher::CompileAll(matchers, &compiled);
  EXPECT_TRUE(s.ok()) << s.ToString();
  return compiled;
}

// An index over the memory engine that can be closed and opened again.
class IndexFixture : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }
  void TearDown() override { Close(); }

  virtual Result<std::unique_ptr<KvEngine>> OpenEngine() { return factory_->Open("db", IndexEngineOptions()); }

  void Open() {
    Result<std::unique_ptr<KvEngine>> engine = OpenEngine();
    ASSERT_TRUE(engine.ok()) << engine.status().ToString();
    engine_ = std::move(engine).value();
    index_ = std::make_unique<IndexShard>(engine_.get(), IndexShardOptions{.shard = 0, .family = 0, .epoch = 0, .cache = &cache_});
    Result<IndexState> state = index_->Load();
    ASSERT_TRUE(state.ok()) << state.status().ToString();
    state_ = *state;
  }
  void Close() {
    index_.reset();
    if (engine_ != nullptr) {
      EXPECT_TRUE(engine_->Close().ok());
    }
    engine_.reset();
  }
  void Checkpoint() {
    state_.applied_lsn = lsn_;
    state_.next_ordinal = next_ordinal_;
    const Status s = index_->Checkpoint(state_);
    ASSERT_TRUE(s.ok()) << s.ToString();
    ASSERT_TRUE(engine_->Flush(FamilyId{0}).ok());
  }
  Ordinal Add(const Labels& labels) {
    const auto ordinal = static_cast<Ordinal>(next_ordinal_++);
    EXPECT_TRUE(index_->Insert(ordinal, KeyOf(labels), ++lsn_));
    return ordinal;
  }
  std::optional<Ordinal> Find(const SeriesKey& key) {
    if (const auto resident = index_->FindResident(key); resident.has_value()) return resident;
    std::vector<std::optional<Ordinal>> found;
    const Status s = index_->FindStored({&key, 1}, &found);
    EXPECT_TRUE(s.ok()) << s.ToString();
    return found[0];
  }
  std::vector<Ordinal> Select(const std::vector<Matcher>& matchers) {
    Result<OrdinalSet> set = index_->Select(Compiled(matchers));
    EXPECT_TRUE(set.ok()) << set.status().ToString();
    return set.ok() ? set->ToVector() : std::vector<Ordinal>();
  }
  std::vector<std::string> Values(std::string_view name, const OrdinalSet* within = nullptr) {
    return AllPages([&](StringPage* page) { return index_->LabelValues(name, within, page); });
  }
  std::vector<std::string> Names(const OrdinalSet* within = nullptr) {
    return AllPages([&](StringPage* page) { return index_->LabelNames(within, page); });
  }
  // At once, which equals what comes some strings at a time.
  static std::vector<std::string> AllPages(const std::function<Status(StringPage*)>& offer) {
    StringPage all;
    Status s = offer(&all);
    EXPECT_TRUE(s.ok()) << s.ToString();
    EXPECT_FALSE(all.full());
    for (const std::size_t bytes : {1, 300}) {
      std::vector<std::string> paged;
      std::string after;
      for (bool more = true; more && s.ok();) {
        StringPage page(after, bytes);
        s = offer(&page);
        EXPECT_TRUE(s.ok()) << s.ToString();
        if (bytes == 1) {
          EXPECT_LE(page.strings().size(), 1U);
        }
        paged.insert(paged.end(), page.strings().begin(), page.strings().end());
        more = page.full();
        if (more) after = paged.back();
      }
      EXPECT_EQ(paged, std::vector<std::string>(all.strings().begin(), all.strings().end())) << "in pages of " << bytes;
    }
    return {all.strings().begin(), all.strings().end()};
  }
  Labels LabelsOf(Ordinal ordinal, bool removed_too = false) {
    std::vector<Labels> labels;
    const Status s = index_->LabelsOf({&ordinal, 1}, &labels, removed_too);
    EXPECT_TRUE(s.ok()) << s.ToString();
    return labels[0];
  }

  std::function<void()> during_read_;  // runs before each read of the engine
  std::shared_ptr<MemoryEngineFactory> factory_ =
      MakeAdversarialMemoryEngineFactory({.on_call = [this](EngineMethod method, const std::string&) {
        const auto hook = method == EngineMethod::kRead ? during_read_ : nullptr;  // a copy: it may end itself
        if (hook) hook();
        return Status::Ok();
      }});
  PostingsCache cache_{4 << 20};
  std::unique_ptr<KvEngine> engine_;
  std::unique_ptr<IndexShard> index_;
  IndexState state_;
  Lsn lsn_ = 0;
  std::uint64_t next_ordinal_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_INDEX_INDEX_FIXTURE_H_

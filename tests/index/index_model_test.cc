// IndexShard against a naive model, with random operations.
#include <filesystem>
#include <map>
#include <set>

#include "chronolith/engine_registry.h"
#include "index_fixture.h"

namespace chronolith {
namespace {

struct ModelSeries {
  Labels labels;
  std::optional<Metadata> metadata;
};

class IndexModel : public IndexFixture {
 protected:
  // Few names and values, so that everything collides; some are long, have NULs, or are prefixes of others.
  void MakeWords() {
    names_ = {"__name__", "job", "instance", "a", "ab", "z\x01", std::string(400, 'n'), std::string(400, 'n') + "2"};
    values_ = {"x",
               "y",
               "xy",
               "x.y",
               "up",
               "down",
               "a|b",
               std::string("nul\0nul", 7),
               std::string("nul\0", 4),
               std::string("nul"),
               std::string(700, 'v') + "1",
               std::string(700, 'v') + "2",
               std::string(600, 'v'),
               std::string(599, 'v') + std::string(2, '\0')};
    for (int i = 0; i < 30; ++i) values_.push_back("v" + std::to_string(i));
  }
  std::size_t Below(std::size_t n) { return random_() % n; }
  const std::string& Word(const std::vector<std::string>& words) { return words[Below(words.size())]; }

  Labels RandomLabels() {
    std::map<std::string, std::string> pairs;
    const std::size_t n = 1 + Below(4);
    while (pairs.size() < n) pairs[Word(names_)] = Word(values_);
    return Labels(std::vector<std::pair<std::string, std::string>>(pairs.begin(), pairs.end()));
  }
  // Every hundredth hash is one of two, so that different labels share them.
  SeriesKey RandomKey(const Labels& labels) {
    const std::uint64_t hash = StableHash(labels.encoded());
    return {hash % 10 == 0 ? hash % 20 : hash, labels.encoded()};
  }
  Matcher RandomMatcher() {
    static const std::vector<std::string> patterns = {".*",      ".+",     "",      "x",       "x|y",     "x.*",   "v1.*",
                                                      "(v1|v2)", "v[0-9]", "nul.*", ".*1",     "x|",      "[^x]*", "a\\|b",
                                                      "v{3,}.*", "(?i)X",  "vv.*",  "nothing", "(x|.+y)", "v2.+"};
    const std::string name = Below(20) == 0 ? "missing" : Word(names_);
    switch (Below(4)) {
      case 0:
        return Matcher::Equal(name, Below(5) == 0 ? "" : Word(values_));
      case 1:
        return Matcher::NotEqual(name, Below(5) == 0 ? "" : Word(values_));
      case 2:
        return Matcher::Regex(name, patterns[Below(patterns.size())]);
      default:
        return Matcher::NotRegex(name, patterns[Below(patterns.size())]);
    }
  }

  void InsertOne() {
    const Labels labels = RandomLabels();
    const SeriesKey key = RandomKey(labels);
    std::optional<Ordinal> expected;
    for (const auto& [ordinal, series] : model_) {
      if (series.labels == labels) expected = ordinal;
    }
    ASSERT_EQ(Find(key), expected) << labels.ToString();
    if (expected.has_value()) return;
    const auto ordinal = static_cast<Ordinal>(next_ordinal_);
    next_ordinal_ += Below(50) == 0 ? 70000 : 1;  // several high halves
    ASSERT_TRUE(index_->Insert(ordinal, key, ++lsn_));
    model_[ordinal].labels = labels;
    log_.push_back({ordinal, labels, false});
  }
  void RemoveOne() {
    if (model_.empty()) return;
    auto it = std::next(model_.begin(), static_cast<std::ptrdiff_t>(Below(model_.size())));
    ASSERT_TRUE(index_->Remove(it->first, ++lsn_).ok());
    log_.push_back({it->first, it->second.labels, true});
    removed_[it->first] = it->second.labels;
    model_.erase(it);
  }
  void CheckSelect() {
    std::vector<Matcher> matchers;
    for (std::size_t n = Below(4); n > 0; --n) matchers.push_back(RandomMatcher());
    const std::vector<CompiledMatcher> compiled = Compiled(matchers);
    std::vector<Ordinal> expected;
    for (const auto& [ordinal, series] : model_) {
      bool all = true;
      for (const CompiledMatcher& m : compiled) all = all && m.Matches(series.labels.Get(m.name()));
      if (all) expected.push_back(ordinal);
    }
    std::string text;
    for (const Matcher& m : matchers) text += m.ToString() + " ";
    ASSERT_EQ(Select(matchers), expected) << text;
    std::vector<Labels> labels;
    ASSERT_TRUE(index_->LabelsOf(expected, &labels).ok());
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(labels[i], model_[expected[i]].labels);
  }
  void CheckNamesAndValues() {
    OrdinalSet within;
    const std::size_t keep = 1 + Below(3);
    for (const auto& [ordinal, series] : model_) {
      if (Below(keep) == 0) within.Add(ordinal);
    }
    for (const OrdinalSet* set : {static_cast<const OrdinalSet*>(nullptr), static_cast<const OrdinalSet*>(&within)}) {
      std::set<std::string> names;
      std::set<std::string> values;
      const std::string name = Word(names_);
      for (const auto& [ordinal, series] : model_) {
        if (set != nullptr && !set->Contains(ordinal)) continue;
        for (const Label& label : series.labels) {
          names.emplace(label.name);
          if (label.name == name) values.emplace(label.value);
        }
      }
      ASSERT_EQ(Names(set), std::vector<std::string>(names.begin(), names.end()));
      ASSERT_EQ(Values(name, set), std::vector<std::string>(values.begin(), values.end())) << name;
    }
  }
  void CheckRemovedLabels() {
    if (removed_.empty()) return;
    auto it = std::next(removed_.begin(), static_cast<std::ptrdiff_t>(Below(removed_.size())));
    ASSERT_EQ(LabelsOf(it->first), Labels());
    ASSERT_EQ(LabelsOf(it->first, true), it->second);
  }
  void EvictSome() {
    std::vector<Ordinal> some;
    for (const auto& [ordinal, series] : model_) {
      if (Below(2) == 0) some.push_back(ordinal);
    }
    index_->Evict(some);
  }
  // What a store does after a crash: opens and repeats the log since the last checkpoint, perhaps also some of before.
  void Restart(bool crash) {
    if (!crash) Checkpoint();
    std::size_t from = crash ? checkpointed_ - std::min<std::size_t>(checkpointed_, Below(5)) : log_.size();
    if (crash) {
      Crash();
    } else {
      Close();
    }
    Open();
    for (; from < log_.size(); ++from) {
      const LogEntry& entry = log_[from];
      if (entry.removal) {
        ASSERT_TRUE(index_->Remove(entry.ordinal, 1).ok());
      } else {
        ASSERT_TRUE(index_->Insert(entry.ordinal, RandomKey(entry.labels), 1));
      }
    }
  }

  virtual void Crash() {
    index_.reset();
    engine_.reset();
    factory_->CrashAll(CrashKind::kKill);
  }
  void RunRandomly(int steps);

  struct LogEntry {
    Ordinal ordinal;
    Labels labels;
    bool removal;
  };
  std::vector<std::string> names_;
  std::vector<std::string> values_;
  std::mt19937_64 random_;
  std::map<Ordinal, ModelSeries> model_;
  std::map<Ordinal, Labels> removed_;
  std::vector<LogEntry> log_;
  std::size_t checkpointed_ = 0;
};

void IndexModel::RunRandomly(int steps) {
  MakeWords();
  random_.seed(TestSeed());
  for (int step = 0; step < steps && !HasFatalFailure(); ++step) {
    const std::size_t dice = Below(1000);
    if (dice < 400) {
      InsertOne();
    } else if (dice < 480) {
      RemoveOne();
    } else if (dice < 850) {
      CheckSelect();
    } else if (dice < 900) {
      CheckNamesAndValues();
    } else if (dice < 940) {
      CheckRemovedLabels();
    } else if (dice < 970) {
      EvictSome();
    } else if (dice < 990) {
      Checkpoint();
      checkpointed_ = log_.size();
      ASSERT_EQ(index_->OldestUnwritten(), std::nullopt);
    } else {
      const bool crash = Below(2) == 0;
      Restart(crash);
      if (!crash) checkpointed_ = log_.size();
    }
  }
  std::printf("%zu live series, %zu removed, cache %llu bytes\n", model_.size(), removed_.size(),
              static_cast<unsigned long long>(cache_.bytes()));
}

TEST_F(IndexModel, AnswersAsTheModelUnderRandomOperations) { RunRandomly(6000); }

// The same over files; what a crash leaves is what was flushed.
class IndexModelOnDisk : public IndexModel, public testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    factory_ = EngineRegistry::Default()->Find(GetParam()).value();
    path_ = ::testing::TempDir() + "index_model_" + std::to_string(std::random_device{}());
    Open();
  }
  void TearDown() override {
    Close();
    if (!path_.empty()) std::filesystem::remove_all(path_);
  }
  Result<std::unique_ptr<KvEngine>> OpenEngine() override { return factory_->Open(path_, IndexEngineOptions()); }
  void Crash() override { Close(); }

  std::shared_ptr<EngineFactory> factory_;
  std::string path_;
};

INSTANTIATE_TEST_SUITE_P(Engines, IndexModelOnDisk, EnginesWithDirectories(), EngineName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(IndexModelOnDisk);
TEST_P(IndexModelOnDisk, AnswersAsTheModelUnderRandomOperations) { RunRandomly(2500); }

}  // namespace
}  // namespace chronolith

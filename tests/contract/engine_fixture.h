// The fixture of the contract suite: every test runs once for each engine of the build.
#ifndef CHRONOLITH_TESTS_CONTRACT_ENGINE_FIXTURE_H_
#define CHRONOLITH_TESTS_CONTRACT_ENGINE_FIXTURE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/engine_registry.h"
#include "chronolith/kv_engine.h"
#include "tests/support/engines.h"

namespace chronolith {

// Joins operands with commas; an operand with '!' in it is damaged.
class JoinMerge : public MergeFunction {
 public:
  std::string_view Name() const override { return "test.join"; }
  bool Merge(std::string_view, const std::string_view* existing, std::span<const std::string_view> operands,
             std::string* result) const override {
    if (existing != nullptr) *result = *existing;
    bool first = existing == nullptr;
    for (const std::string_view operand : operands) {
      if (operand.find('!') != std::string_view::npos) return false;
      if (!first) result->push_back(',');
      first = false;
      result->append(operand);
    }
    return true;
  }
};

// Drops rows whose value is "drop".
class DropMarked : public DropFilter {
 public:
  std::string_view Name() const override { return "test.drop"; }
  bool ShouldDrop(std::string_view, std::string_view value) const override { return value == "drop"; }
};

// A directory that goes with the test.
class TempDirectory {
 public:
  TempDirectory() {
    std::string name = testing::TempDir() + "chronolith.XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

inline constexpr FamilyId kPlain = 0;     // no merge, no filter
inline constexpr FamilyId kMerging = 1;   // JoinMerge
inline constexpr FamilyId kDropping = 2;  // DropMarked
inline constexpr Durability kAllDurabilities[] = {Durability::kBuffered, Durability::kLogged, Durability::kSynced};

inline Op PutOp(std::string_view key, std::string_view value) { return {Op::Type::kPut, key, value}; }
inline Op DeleteOp(std::string_view key) { return {Op::Type::kDelete, key, {}}; }
inline Op MergeOp(std::string_view key, std::string_view value) { return {Op::Type::kMerge, key, value}; }
inline Op DeleteRangeOp(std::string_view begin, std::string_view end) { return {Op::Type::kDeleteRange, begin, end}; }

// Parameter: the engine's name in the default registry.
class EngineTest : public testing::TestWithParam<std::string> {
 protected:
  EngineTest() : factory_(*EngineRegistry::Default()->Find(GetParam())) {}

  static EngineOptions Families(InstanceRole role = InstanceRole::kData) {
    EngineOptions options;
    options.instance = role;
    options.write_buffer_bytes = 16UL << 20;
    options.families = {{"plain", FamilyRole::kChunk, nullptr, nullptr},
                        {"merging", FamilyRole::kIndex, std::make_shared<JoinMerge>(), nullptr},
                        {"dropping", FamilyRole::kChunk, nullptr, std::make_shared<DropMarked>()}};
    if (role == InstanceRole::kLog) {
      for (FamilySpec& family : options.families) family.role = FamilyRole::kWal;
    }
    return options;
  }

  Result<std::unique_ptr<KvEngine>> TryOpen(const EngineOptions& options, std::string_view name = "db") {
    return factory_->Open(directory_ / name, options);
  }
  void Open(const EngineOptions& options = Families()) {
    engine_.reset();
    auto opened = TryOpen(options);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    engine_ = std::move(opened).value();
  }
  void Close() {
    const Status s = engine_->Close();
    EXPECT_TRUE(s.ok()) << s.ToString();
    engine_.reset();
  }

  Status WriteTo(FamilyId family, const std::vector<Op>& ops, Epoch epoch = 0, Durability durability = Durability::kLogged) {
    const Batch batch{family, "key", epoch, ops};
    return engine_->Write(std::span(&batch, 1), {.durability = durability}).at(0);
  }
  void MustWrite(FamilyId family, const std::vector<Op>& ops, Durability durability = Durability::kLogged) {
    const Status s = WriteTo(family, ops, 0, durability);
    ASSERT_TRUE(s.ok()) << s.ToString();
  }
  // The value, or the name of the error.
  static std::string Read(KvEngine* engine, FamilyId family, std::string_view key, ReadTier tier = ReadTier::kLatest) {
    std::string value;
    const Status s = engine->Get(family, key, &value, tier);
    return s.ok() ? value : std::string(StatusCodeName(s.code()));
  }
  std::string Read(FamilyId family, std::string_view key, ReadTier tier = ReadTier::kLatest) {
    return Read(engine_.get(), family, key, tier);
  }
  // "a=1 b=2 ", from `seek` on.
  static std::string Scan(KvEngine* engine, FamilyId family, const IterateOptions& options = {}, std::string_view seek = "") {
    auto cursor = engine->NewIterator(family, options);
    if (!cursor.ok()) return cursor.status().ToString();
    std::string rows;
    for ((*cursor)->Seek(seek); (*cursor)->Valid(); (*cursor)->Next()) {
      rows.append((*cursor)->key()).append("=").append((*cursor)->value()).append(" ");
    }
    return (*cursor)->status().ok() ? rows : rows.append((*cursor)->status().ToString());
  }
  std::string Scan(FamilyId family, const IterateOptions& options = {}, std::string_view seek = "") {
    return Scan(engine_.get(), family, options, seek);
  }

  TempDirectory directory_;
  const std::shared_ptr<EngineFactory> factory_;
  std::unique_ptr<KvEngine> engine_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_CONTRACT_ENGINE_FIXTURE_H_

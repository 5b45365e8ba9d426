// VerifyChecksums as tests use it: what was read, and what was found.
#ifndef CHRONOLITH_TESTS_SUPPORT_VERIFY_FILES_H_
#define CHRONOLITH_TESTS_SUPPORT_VERIFY_FILES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronolith/kv_engine.h"

namespace chronolith {

struct Verification : VerifyVisitor {
  bool OnBytes(std::uint64_t n) override {
    bytes += n;
    largest_piece = n > largest_piece ? n : largest_piece;
    return !go_on || go_on();
  }
  void OnFile(std::string_view file) override { files.emplace_back(file); }
  void OnDamage(std::string_view file, const Status& damage) override { damages.emplace_back(file, damage); }

  // What was returned, or else the first damage.
  Status Run(KvEngine* engine, FamilyId family, std::string_view after = "") {
    const Status s = engine->VerifyChecksums(family, after, this);
    return !s.ok() || damages.empty() ? s : damages.front().second;
  }

  std::function<bool()> go_on;  // null: always
  std::uint64_t bytes = 0;
  std::uint64_t largest_piece = 0;
  std::vector<std::string> files;
  std::vector<std::pair<std::string, Status>> damages;
};

inline Status VerifyFiles(KvEngine* engine, FamilyId family) { return Verification().Run(engine, family); }

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_SUPPORT_VERIFY_FILES_H_

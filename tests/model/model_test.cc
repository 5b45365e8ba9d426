// A store against a plain map: random operations on both, on every engine of the build (model_run.h).
//
//   model_test                                        200,000 operations of each engine
//   model_test --operations 20000000 --seed 1         the long form: 25,000 operations a seed, seeds 1 to 800
//   model_test --operations 25000 --seed 17 --gtest_filter='*rocksdb'     repeats one seed
#include <chrono>
#include <cstring>

#include "tests/contract/seed.h"
#include "tests/model/model_run.h"
#include "tests/support/sanitized.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kPerSeed = 25'000;
std::uint64_t operations = 0;  // 0: of the short form
std::uint64_t first_seed = 0;
bool seed_given = false;

class ModelTest : public testing::TestWithParam<std::string> {};

TEST_P(ModelTest, RandomOperationsAgree) {
  if (!seed_given) first_seed = TestSeed();
  const auto start = std::chrono::steady_clock::now();
  ModelMix mix;
  std::uint64_t wanted = operations;
  if (wanted == 0) wanted = testing_support::kSanitized ? 25'000 : 200'000;
  std::uint64_t seed = first_seed;
  for (std::uint64_t done = 0; done < wanted; ++seed) {
    const std::uint64_t some = std::min(kPerSeed, wanted - done);
    ModelRun run(GetParam(), seed);
    run.Run(some);
    mix.Add(run.mix());
    if (HasFailure()) {
      std::printf("again: model_test --operations %llu --seed %llu --gtest_filter='*%s'\n", static_cast<unsigned long long>(some),
                  static_cast<unsigned long long>(seed), GetParam().c_str());
      break;
    }
    done += some;
    if (seed % 40 == 0) {
      std::printf("%s: %llu operations, up to seed %llu\n", GetParam().c_str(), static_cast<unsigned long long>(done),
                  static_cast<unsigned long long>(seed));
      std::fflush(stdout);
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%s, seeds %llu to %llu, %.1f s:\n", GetParam().c_str(), static_cast<unsigned long long>(first_seed),
              static_cast<unsigned long long>(seed - 1), seconds);
  for (std::size_t i = 0; i < ModelMix::kKinds; ++i) {
    std::printf("  %-30s %12llu\n", ModelMix::kNames[i], static_cast<unsigned long long>(mix.count[i]));
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, ModelTest, AllEngines(), EngineName);

}  // namespace
}  // namespace chronolith

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; i += 2) {
    const auto is = [&](const char* name) { return std::strcmp(argv[i], name) == 0 && i + 1 < argc; };
    if (is("--operations")) {
      chronolith::operations = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (is("--seed")) {
      chronolith::first_seed = std::strtoull(argv[i + 1], nullptr, 10);
      chronolith::seed_given = true;
    } else {
      std::fprintf(stderr, "usage: model_test [--operations N] [--seed N]\n");
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}

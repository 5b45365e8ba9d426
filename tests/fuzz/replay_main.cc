// Runs a fuzz target without a fuzzer: on every file of the directories given, and on mutations of each (flipped, inserted, removed
// and copied bytes, cuts). CHRONOLITH_TEST_SEED picks the mutations, CHRONOLITH_FUZZ_MUTATIONS how many a file (default 2000).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_check.h"

namespace {

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

void Mutate(std::mt19937_64* rng, std::string* bytes) {
  auto& r = *rng;
  for (std::uint64_t n = 1 + r() % 4; n > 0; --n) {
    const std::size_t at = bytes->empty() ? 0 : r() % bytes->size();
    const std::size_t length = 1 + r() % 8;
    switch (bytes->empty() ? 1 : r() % 6) {
      case 0:
        (*bytes)[at] = static_cast<char>((*bytes)[at] ^ 1 << r() % 8);
        break;
      case 1:
        bytes->insert(at, length, static_cast<char>(r()));
        break;
      case 2:
        bytes->erase(at, length);
        break;
      case 3:
        (*bytes)[at] = static_cast<char>(r() % 2 == 0 ? 0xff : r());
        break;
      case 4:
        bytes->insert(r() % bytes->size(), std::string(*bytes, at, length));
        break;
      case 5:
        if (r() % 4 == 0) bytes->resize(at);
        break;
    }
  }
}

// In an allocation of exactly its size, so that the address sanitizer sees a read one byte behind.
void Run(const std::string& bytes) {
  const std::vector<std::uint8_t> exact(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t seed = FromEnvironment("CHRONOLITH_TEST_SEED", std::random_device{}());
  const std::uint64_t mutations = FromEnvironment("CHRONOLITH_FUZZ_MUTATIONS", 2000);
  std::printf("CHRONOLITH_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) files.push_back(entry.path());
  }
  if (files.empty()) {
    std::fprintf(stderr, "no inputs\n");
    return 1;
  }
  std::sort(files.begin(), files.end());
  std::mt19937_64 rng(seed);
  for (const std::filesystem::path& path : files) {
    std::ifstream in(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    Run(bytes);
    for (std::uint64_t i = 0; i < mutations; ++i) {
      std::string mutated = bytes;
      Mutate(&rng, &mutated);
      Run(mutated);
    }
  }
  std::printf("%zu inputs, %llu mutations of each\n", files.size(), static_cast<unsigned long long>(mutations));
  return 0;
}

// Chunks that a real Prometheus made: see tests/golden/README.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "chunk/xor_chunk.h"

namespace chronolith {
namespace {

const std::filesystem::path kGolden = CHRONOLITH_GOLDEN_DIR;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}

std::map<std::string, std::vector<Sample>> ReadCases() {
  std::map<std::string, std::vector<Sample>> cases;
  std::ifstream in(kGolden / "xor_samples.txt");
  std::string line;
  while (std::getline(in, line)) {
    if (line.starts_with('#')) continue;
    std::istringstream fields(line);
    std::string name;
    Sample s;
    std::uint64_t bits = 0;
    fields >> name >> s.timestamp >> std::hex >> bits;
    s.value = std::bit_cast<double>(bits);
    cases[name].push_back(s);
  }
  return cases;
}

bool SameBits(const Sample& a, const Sample& b) {
  return a.timestamp == b.timestamp && std::bit_cast<std::uint64_t>(a.value) == std::bit_cast<std::uint64_t>(b.value);
}

TEST(XorGolden, PrometheusChunksDecodeToTheInputAndTheInputEncodesToThem) {
  const auto cases = ReadCases();
  ASSERT_GE(cases.size(), 9u);
  for (const auto& [name, samples] : cases) {
    SCOPED_TRACE(name);
    std::size_t done = 0;
    for (int part = 0; done < samples.size(); ++part) {
      const std::string chunk = ReadFile(kGolden / ("xor_" + name + "." + std::to_string(part) + ".bin"));
      ASSERT_FALSE(chunk.empty()) << "part " << part;
      Result<std::vector<Sample>> decoded = DecodeXor(chunk);
      ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
      ASSERT_LE(done + decoded->size(), samples.size());
      EXPECT_TRUE(std::equal(decoded->begin(), decoded->end(), samples.begin() + static_cast<std::ptrdiff_t>(done), SameBits));
      EXPECT_EQ(EncodeXor(std::span(samples).subspan(done, decoded->size())), chunk);
      done += decoded->size();
    }
  }
}

TEST(XorGolden, CoversWhatItShould) {
  const auto cases = ReadCases();
  EXPECT_EQ(cases.at("single").size(), 1u);
  EXPECT_EQ(cases.at("counter").size(), 120u);
  std::size_t stale = 0;
  for (const Sample& s : cases.at("special")) stale += std::bit_cast<std::uint64_t>(s.value) == kStaleNaNBits;
  EXPECT_EQ(stale, 3u);
  std::vector<std::int64_t> dods;
  const std::vector<Sample>& irregular = cases.at("irregular");
  for (std::size_t i = 2; i < irregular.size(); ++i) {
    dods.push_back(irregular[i].timestamp - 2 * irregular[i - 1].timestamp + irregular[i - 2].timestamp);
  }
  for (const std::int64_t edge : {8192, 8193, -8191, -8192, 65536, 65537, -65535, -65536, 524288, 524289, -524287, -524288}) {
    EXPECT_NE(std::find(dods.begin(), dods.end(), edge), dods.end()) << edge;
  }
}

}  // namespace
}  // namespace chronolith

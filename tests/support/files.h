// Whole files in and out of strings, for tests that look at bytes on disk or spoil them.
#ifndef CHRONOLITH_TESTS_SUPPORT_FILES_H_
#define CHRONOLITH_TESTS_SUPPORT_FILES_H_

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace chronolith {

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
inline void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Of a file that may be open and written to.
inline void FlipBitInPlace(const std::string& path, std::uint64_t at, int bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const auto byte = static_cast<char>(file.get() ^ (1 << bit));
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
  file.flush();
  if (!file.good()) std::abort();
}

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_SUPPORT_FILES_H_

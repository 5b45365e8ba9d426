// Whole files in and out of strings, for tests that look at bytes on disk or spoil them.
#ifndef CHRONOLITH_TESTS_SUPPORT_FILES_H_
#define CHRONOLITH_TESTS_SUPPORT_FILES_H_

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

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_SUPPORT_FILES_H_

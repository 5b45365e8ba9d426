// A directory that goes with the test.
#ifndef CHRONOLITH_TESTS_SUPPORT_TEMP_DIRECTORY_H_
#define CHRONOLITH_TESTS_SUPPORT_TEMP_DIRECTORY_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

namespace chronolith::testing_support {

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
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace chronolith::testing_support

#endif  // CHRONOLITH_TESTS_SUPPORT_TEMP_DIRECTORY_H_

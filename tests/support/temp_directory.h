// A directory that goes with the test. In memory (/dev/shm) where there is such a place and TEST_TMPDIR names no other: these tests
// crash processes, not machines, and a disk's syncs would only cost time.
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
    std::string name = Parent() + "chronolith.XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDirectory() {
    if (kept_) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  const std::string& path() const { return path_; }
  void Keep() { kept_ = true; }  // for whoever looks into a failure

 private:
  static std::string Parent() {
    if (std::getenv("TEST_TMPDIR") == nullptr && access("/dev/shm", W_OK) == 0) return "/dev/shm/";
    return ::testing::TempDir();
  }

  std::string path_;
  bool kept_ = false;
};

}  // namespace chronolith::testing_support

#endif  // CHRONOLITH_TESTS_SUPPORT_TEMP_DIRECTORY_H_

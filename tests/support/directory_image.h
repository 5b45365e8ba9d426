// The files of a directory as they are at one moment, as kill -9 would leave them, though others write to it.
#ifndef CHRONOLITH_TESTS_SUPPORT_DIRECTORY_IMAGE_H_
#define CHRONOLITH_TESTS_SUPPORT_DIRECTORY_IMAGE_H_

#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <tuple>

namespace chronolith::testing_support {

// What changes when anyone writes to the tree: names, inodes, sizes and times.
inline auto TreeState(const std::string& path) {
  namespace fs = std::filesystem;
  std::map<std::string, std::tuple<ino_t, off_t, time_t, long>> state;
  std::error_code vanished;
  for (fs::recursive_directory_iterator it(path, vanished), end; !vanished && it != end; it.increment(vanished)) {
    struct stat info;
    if (stat(it->path().c_str(), &info) != 0) continue;
    state[it->path().string()] = {info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
  }
  return state;
}

// `to` must not exist. Background threads of a store write when they like, a file copied while it grows is one that no kill leaves:
// so a copy counts only where nothing changed while it was made. Aborts where that does not come to pass.
inline void CopyAtOneMoment(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  constexpr int kAttempts = 1000;
  for (int i = 0; i < kAttempts; ++i) {
    const auto before = TreeState(from);
    std::error_code error;
    fs::copy(from, to, fs::copy_options::recursive, error);
    if (!error && TreeState(from) == before) return;
    fs::remove_all(to);
  }
  std::fprintf(stderr, "'%s' does not come to rest: stop the writers before it is copied\n", from.c_str());
  std::abort();
}

}  // namespace chronolith::testing_support

#endif  // CHRONOLITH_TESTS_SUPPORT_DIRECTORY_IMAGE_H_

// The files of a directory as they are at one moment, as kill -9 would leave them, though others write to it.
#ifndef CHRONOLITH_TESTS_SUPPORT_DIRECTORY_IMAGE_H_
#define CHRONOLITH_TESTS_SUPPORT_DIRECTORY_IMAGE_H_

#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>

namespace chronolith::testing_support {

using TreeState = std::map<std::string, std::tuple<ino_t, off_t, time_t, long>>;

// What changes when anyone writes to the tree: names, inodes, sizes and times. nullopt: something vanished meanwhile.
inline std::optional<TreeState> LookAtTree(const std::string& path) {
  namespace fs = std::filesystem;
  TreeState state;
  std::error_code error;
  for (fs::recursive_directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    struct stat info;
    if (stat(it->path().c_str(), &info) != 0) return std::nullopt;
    state[it->path().string()] = {info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
  }
  if (error) return std::nullopt;
  return state;
}

// `to` must not exist. Background threads of a store write when they like, a file copied while it grows is one that no kill leaves:
// so a copy counts only where nothing changed while it was made. Aborts where that does not come to pass.
inline void CopyAtOneMoment(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < until) {
    const std::optional<TreeState> before = LookAtTree(from);
    std::error_code error;
    fs::copy(from, to, fs::copy_options::recursive, error);
    if (!error && before && LookAtTree(from) == before) return;
    fs::remove_all(to);
    std::this_thread::yield();
  }
  std::fprintf(stderr, "'%s' does not come to rest: stop the writers before it is copied\n", from.c_str());
  std::abort();
}

}  // namespace chronolith::testing_support

#endif  // CHRONOLITH_TESTS_SUPPORT_DIRECTORY_IMAGE_H_

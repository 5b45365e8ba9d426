// What an operator should know of a store, in plain words: the warnings of the status page.
#ifndef CHRONOLITH_SERVER_PAGE_PAGE_WARNINGS_H_
#define CHRONOLITH_SERVER_PAGE_PAGE_WARNINGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "chronolith/stats.h"

namespace chronolith::server {

struct DiskState {
  std::string directory;
  std::uint64_t free_bytes = 0;  // for processes that are not root's
  std::uint64_t total_bytes = 0;
};
// What there is; directories that cannot be asked are left out.
std::vector<DiskState> DisksOf(const std::vector<std::string>& directories);

struct PageWarning {
  bool critical = false;  // damage, or writes that are refused
  std::string text;
  std::string advice;
};
// The critical ones first. `refused_per_second`: of the last few seconds.
std::vector<PageWarning> WarningsOf(const StorageStats& stats, const std::vector<DiskState>& disks, double refused_per_second,
                                    std::int64_t now_ms);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_PAGE_PAGE_WARNINGS_H_

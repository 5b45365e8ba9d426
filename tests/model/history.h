// Histories of concurrent writers and readers with crashes, and a checker of what the store promises about them, per series:
//
//   linearizable           without a crash: there is one order of all writes and reads, agreeing with real time (what returned
//   before
//                          another began stands before it), in which each read sees exactly the writes before it;
//   buffered durability    a crash may drop only a suffix of that order, and nothing that was acknowledged at a level that survives
//   it;
//                          and a suffix per shard, over all series of the shard.
//
// A history is a list of eras, each ended by a crash, a close or a reopening. What the next era begins with is read right after it.
//
// Each (series, timestamp) is written by one thread only, one version after the other, so what a read saw tells for each write
// whether it stands before or after the read: the order exists if and only if the graph of these constraints and of real time has
// no cycle. (Without that, deciding would take a search.)
#ifndef CHRONOLITH_TESTS_MODEL_HISTORY_H_
#define CHRONOLITH_TESTS_MODEL_HISTORY_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "chronolith/types.h"

namespace chronolith {

inline constexpr std::uint64_t kNeverReturned = ~0ULL;

// One sample written, or one timestamp deleted.
struct HistoryWrite {
  std::uint64_t invoked = 0;
  std::uint64_t returned = kNeverReturned;  // kNeverReturned: failed or cut off; it may have happened at any time since, or never
  int series = 0;
  int shard = 0;
  Timestamp t = 0;
  std::uint64_t version = 0;  // from 1, ascending for one (series, timestamp), over all eras
  bool deletes = false;
  bool survives = false;  // acknowledged at a level that survives how the era ended
};

using SeenVersions = std::map<Timestamp, std::uint64_t>;  // of one series

struct HistoryRead {
  std::uint64_t invoked = 0;
  std::uint64_t returned = 0;
  int series = 0;
  SeenVersions seen;
};

struct HistoryEra {
  std::vector<HistoryWrite> writes;
  std::vector<HistoryRead> reads;
  std::map<int, SeenVersions> recovered;  // by series: what was there after the era
};

// "" where all promises are kept, else which one is not, with the operations involved.
std::string CheckHistory(const std::vector<HistoryEra>& eras);

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_MODEL_HISTORY_H_

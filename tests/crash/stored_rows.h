// What the data instance of a closed store holds, looked at without the index: its rows against each other.
#ifndef CHRONOLITH_TESTS_CRASH_STORED_ROWS_H_
#define CHRONOLITH_TESTS_CRASH_STORED_ROWS_H_

#include <string>
#include <vector>

namespace chronolith::crash {

// Of the store in `path`, which has made a checkpoint as the last thing before it was closed. From the label rows of series that
// are not removed the hash rows, the postings rows and the number of series are built anew, and compared both ways with those that
// are there; whoever has metadata has a label row; whoever has a chunk that is not wholly deleted or expired is a series that is
// not removed. Each problem is a line that names shard, key and ordinal.
std::vector<std::string> CheckStoredRows(const std::string& path, int shards);

}  // namespace chronolith::crash

#endif  // CHRONOLITH_TESTS_CRASH_STORED_ROWS_H_

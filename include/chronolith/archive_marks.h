// ArchiveMarks: what a LogArchiver may implement beside, to know when what it has is complete over all shards.
#ifndef CHRONOLITH_ARCHIVE_MARKS_H_
#define CHRONOLITH_ARCHIVE_MARKS_H_

#include <cstdint>
#include <vector>

#include "chronolith/export.h"
#include "chronolith/types.h"

namespace chronolith {

// A moment between two group commits of the store, which are numbered within an epoch (an opening of the store) and carry when
// they were written.
struct ArchiveMark {
  std::uint64_t epoch = 0;
  std::uint64_t group = 0;   // the last one before the moment
  std::int64_t time_ms = 0;  // later groups were written then or later, by the store's clock
  std::vector<Lsn>
      archived_to;  // by shard: all rows up to this LSN were archived, or told as a gap, or trimmed without an archiver
  friend bool operator==(const ArchiveMark&, const ArchiveMark&) = default;
};

// Rows reach an archiver shard by shard, and a shard that nobody writes to has none: from rows alone it cannot be told whether
// those of all shards up to a moment are there. An archiver that also derives from this is told, by each checkpoint that leaves
// nothing behind; without it an archive is good for reading, but a restore from it may be of different moments in different shards.
//
// Thread safety: called like LogArchiver's methods, by the same thread.
class CHRONOLITH_EXPORT ArchiveMarks {
 public:
  virtual ~ArchiveMarks();
  // All rows of all shards that were logged up to the mark have been given to Archive, which took them, or to OnGap.
  virtual void OnMark(const ArchiveMark& mark) = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_ARCHIVE_MARKS_H_

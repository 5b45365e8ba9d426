// The keys of rows taken apart, for who looks at rows of every kind: what the headers of the families' rows do not have already
// (DecodeChunkKey, index_rows::ParsePairKey). False: it is no such key. Nothing is checked but its form.
#ifndef CHRONOLITH_FORMAT_ROW_KEYS_H_
#define CHRONOLITH_FORMAT_ROW_KEYS_H_

#include <cstdint>
#include <string_view>

#include "format/series_id.h"

namespace chronolith {

bool ParseWalKey(std::string_view key, Lsn* first_lsn);
bool ParseTombstoneKey(std::string_view key, Lsn* lsn, std::uint32_t* part);
// Whether the value of a chunk row is a packed one, by its version.
bool IsPackedChunkValue(std::string_view value);

namespace index_rows {

bool ParseHashKey(std::string_view key, std::uint64_t* hash);
// Of labels or metadata; part 0 is the row itself.
bool ParseOrdinalKey(std::string_view key, Ordinal* ordinal, std::uint16_t* part);

}  // namespace index_rows
}  // namespace chronolith

#endif  // CHRONOLITH_FORMAT_ROW_KEYS_H_

// The rows of a family index.<k>: keys and values. README.md of this folder tells what they are for; here are the bytes.
//
//   key                                               value (payload)
//   's'                                               state: uvarint applied_lsn | uvarint next_ordinal | uvarint series
//   'l' be32(ordinal)                                 labels, a long row, see below
//   'h' be64(hash of the labels)                      ordinals: set of ordinals, see below; several only where hashes collide
//   'p' name value be16(ordinal >> 16)                postings: sets of the ordinals with this (name, value), see below;
//                                                     ("", "") is every series
//   'm' be32(ordinal)                                 metadata, a long row
//
// Value:      u8 version (1) | payload | fixed32 CRC32C of key, version and payload. Integers are little-endian, unless "be".
// Component (name, value of a 'p' key): the bytes with 0x00 written as 0x00 0xff, then 0x00 0x01. Byte order of keys is therefore
//             the order of (name, value). Where the escaped bytes are longer than kNameBytesMax / kValueBytesMax: the longest run
//             of whole (escaped) bytes within the bound, 0x00 0x02, and be64 StableHash of the component. Such values sort where
//             they belong, except among those that share the run.
// Postings:   repeat: uvarint n | n bytes of text | set added | set removed
//             text is "" where both components stand whole in the key, else the pair as in Labels::encoded(), so that two pairs
//             whose components have equal runs and hashes share a row and are still told apart.
// Set of 'p': uvarint count << 1 | form; form 0: count x u16, the low halves, ascending; form 1: uvarint n | n bytes of a portable
//             roaring bitmap with one container, whose key is the high half
// Set of 'h': uvarint count | count x u32, ascending; the row is: set added | set removed
// Long row:   be32 key: u8 flags (1: removed) | uvarint LSN of the removal | fixed64 hash | uvarint total | uvarint parts | first
//             part of the bytes; the parts behind it stand at key + be16(1), be16(2), ...
//             labels: Labels::encoded(); metadata: u8 type | uvarint n | unit | uvarint n | help
//
// 'h' and 'p' rows are folded by PostingsMergeFunction: "removed" is kept only while the row may be an operand; readers look at
// "added" alone.
#ifndef CHRONOLITH_FORMAT_INDEX_ROWS_H_
#define CHRONOLITH_FORMAT_INDEX_ROWS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ordinal_set.h"
#include "chronolith/result.h"
#include "chronolith/types.h"
#include "format/series_id.h"

namespace chronolith::index_rows {

inline constexpr std::uint8_t kVersion = 1;
inline constexpr char kStatePrefix = 's';
inline constexpr char kLabelsPrefix = 'l';
inline constexpr char kHashPrefix = 'h';
inline constexpr char kPostingsPrefix = 'p';
inline constexpr char kMetadataPrefix = 'm';

inline constexpr std::size_t kNameBytesMax = 320;
inline constexpr std::size_t kValueBytesMax = 600;
inline constexpr std::size_t kPartBytesMax = 32 << 10;

// ---- Envelope ----
// Appends the version byte to an empty value; append the payload, then Seal.
void BeginValue(std::string* value);
void SealValue(std::string_view key, std::string* value, std::size_t begin = 0);
// The payload of a stored value. kDataLoss names the key; kFailedPrecondition: written by a newer version.
Status OpenValue(std::string_view key, std::string_view value, std::string_view* payload);
Status Damaged(std::string_view key, std::string_view what);
std::string PrintableKey(std::string_view key);

// ---- Keys ----
std::string StateKey();
std::string OrdinalKey(char prefix, Ordinal ordinal);
std::string PartKey(char prefix, Ordinal ordinal, std::uint16_t part);
void AppendHashKey(std::uint64_t hash, std::string* key);

// A (name, value) whose components do not fit has its text in the row.
struct PairKey {
  std::string bytes;  // key without the high half
  std::string text;   // "" or the encoded pair
};
PairKey MakePairKey(std::string_view name, std::string_view value);
void AppendHigh(std::uint16_t high, std::string* key);
// Start of the keys of `name`; where `value_prefix` is not empty, of those whose values begin with it.
std::string PairKeyPrefix(std::string_view name, std::string_view value_prefix);
// Start of the keys of names that begin with `name_prefix`, which come before those of all greater names.
std::string NameKeyPrefix(std::string_view name_prefix);
// The first key behind all keys that begin with `prefix` (which is not all 0xff).
std::string PrefixEnd(std::string prefix);

// name and value are whole unless `folded`: then they stand in the row.
struct ParsedPairKey {
  std::string name;
  std::string value;
  bool name_folded = false;
  bool value_folded = false;
  std::uint16_t high = 0;
  std::size_t name_end = 0;  // bytes of the key up to and with the name
  bool folded() const { return name_folded || value_folded; }
};
bool ParsePairKey(std::string_view key, ParsedPairKey* parsed);

// ---- State ----
struct State {
  Lsn applied_lsn = 0;
  std::uint64_t next_ordinal = 0;
  std::uint64_t series = 0;
};
std::string EncodeState(const State& state);
Result<State> DecodeState(std::string_view value);

// ---- Long rows ----
struct LongRow {
  bool removed = false;
  Lsn removed_lsn = 0;
  std::uint64_t hash = 0;
  std::uint64_t total = 0;
  std::uint64_t parts = 1;
  std::string bytes;  // of the parts read so far
};
void AppendLongHead(const LongRow& row, std::uint64_t total, std::uint64_t parts, std::string* payload);
// Appends (key, value) pairs: one, or several for long bytes. `row.total` and `row.parts` are computed.
void EncodeLongRow(char prefix, Ordinal ordinal, const LongRow& row, std::string_view bytes,
                   std::vector<std::pair<std::string, std::string>>* rows);
Status DecodeLongRow(std::string_view key, std::string_view value, LongRow* row);  // the first part
Status AppendPart(std::string_view key, std::string_view value, LongRow* row);     // the others, in order
Status CheckComplete(std::string_view key, const LongRow& row);

void EncodeMetadata(const Metadata& metadata, std::string* bytes);
bool DecodeMetadata(std::string_view bytes, Metadata* metadata);

// ---- Hash rows ----
struct HashSets {
  std::vector<Ordinal> added;  // ascending
  std::vector<Ordinal> removed;
};
void AppendHashValue(std::string_view key, std::span<const Ordinal> added, std::span<const Ordinal> removed, std::string* value);
Status DecodeHashValue(std::string_view key, std::string_view value, HashSets* sets);

// ---- Postings rows ----
struct PostingSets {
  std::string text;
  OrdinalSet added;
  OrdinalSet removed;
};
// All ordinals of an entry have the high half that the key ends with.
void AppendPostingEntry(std::string_view text, const OrdinalSet& added, const OrdinalSet& removed, std::string* payload);
std::string EncodePostings(std::string_view key, std::span<const PostingSets> entries);
std::string EncodePostings(std::string_view key, std::string_view text, const OrdinalSet& added, const OrdinalSet& removed);
Status DecodePostings(std::string_view key, std::string_view value, std::vector<PostingSets>* entries);
// Adds to `set` what the row holds for `text`.
Status ReadPostings(std::string_view key, std::string_view value, std::string_view text, OrdinalSet* set);

}  // namespace chronolith::index_rows

#endif  // CHRONOLITH_FORMAT_INDEX_ROWS_H_

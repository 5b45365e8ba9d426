// What a store knows of its scrubs (storage/scrub.h): one row of the family `meta` of the data instance.
//
//   key "scrub"
//   value  u8 version (1) | pass: the last complete one | pass: the one that is under way | u32 CRC32C of the key and all before
//   pass   zigzag started ms | zigzag finished ms | varint active ms | varint bytes | varint rows | varint problems |
//          varint step | length-prefixed name of the file or key of the row that was checked last in this step |
//          varint n (at most 16) | n x length-prefixed problem, in words (at most 300 bytes each)
//
// No time is 0: there was no such pass, or it has not finished. The store counts its creation as the start of the last pass. Steps
// are numbered as in storage/scrub_pass.h; a step that the store does not have begins a new pass.
#ifndef CHRONOLITH_FORMAT_SCRUB_STATE_H_
#define CHRONOLITH_FORMAT_SCRUB_STATE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"

namespace chronolith {

inline constexpr std::string_view kScrubKey = "scrub";
inline constexpr std::size_t kScrubProblemsMax = 16;
inline constexpr std::size_t kScrubProblemBytesMax = 300;

struct ScrubPass {
  std::int64_t started_ms = 0;
  std::int64_t finished_ms = 0;
  std::uint64_t active_ms = 0;  // without the times at which the store was closed
  std::uint64_t bytes = 0;
  std::uint64_t rows = 0;
  std::uint64_t problems = 0;
  std::uint64_t step = 0;
  std::string behind;
  std::vector<std::string> named;  // the first problems

  friend bool operator==(const ScrubPass&, const ScrubPass&) = default;
};

struct ScrubState {
  ScrubPass last;
  ScrubPass running;  // started_ms 0: none

  friend bool operator==(const ScrubState&, const ScrubState&) = default;
};

// Longer lists and texts than the row takes are cut.
std::string EncodeScrubState(const ScrubState& state);
// kDataLoss, kFailedPrecondition (newer format).
Result<ScrubState> DecodeScrubState(std::string_view bytes);

}  // namespace chronolith

#endif  // CHRONOLITH_FORMAT_SCRUB_STATE_H_

#include "format/scrub_state.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/coding.h"

namespace chronolith {
namespace {

constexpr char kVersion = 1;

void PutPass(const ScrubPass& pass, std::string* to) {
  PutZigZag(to, pass.started_ms);
  PutZigZag(to, pass.finished_ms);
  for (const std::uint64_t n : {pass.active_ms, pass.bytes, pass.rows, pass.problems, pass.step}) PutVarint(to, n);
  PutBytes(to, pass.behind);
  const std::size_t named = std::min(pass.named.size(), kScrubProblemsMax);
  PutVarint(to, named);
  for (std::size_t i = 0; i < named; ++i) PutBytes(to, std::string_view(pass.named[i]).substr(0, kScrubProblemBytesMax));
}

ScrubPass ReadPass(ByteReader* in) {
  ScrubPass pass;
  pass.started_ms = in->SignedVarint();
  pass.finished_ms = in->SignedVarint();
  for (std::uint64_t* n : {&pass.active_ms, &pass.bytes, &pass.rows, &pass.problems, &pass.step}) *n = in->Varint();
  pass.behind = in->LengthPrefixed();
  const std::uint64_t named = in->Varint();
  for (std::uint64_t i = 0; i < named && in->ok(); ++i) pass.named.emplace_back(in->LengthPrefixed());
  return pass;
}

}  // namespace

std::string EncodeScrubState(const ScrubState& state) {
  std::string bytes(1, kVersion);
  PutPass(state.last, &bytes);
  PutPass(state.running, &bytes);
  PutFixed32(&bytes, Crc32c(bytes, Crc32c(kScrubKey)));
  return bytes;
}

Result<ScrubState> DecodeScrubState(std::string_view bytes) {
  if (bytes.size() < 5) return DataLoss("the row of the scrub is cut off");
  if (bytes[0] != kVersion) {
    return FailedPrecondition("the row of the scrub has format version " + std::to_string(static_cast<unsigned char>(bytes[0])) +
                              ", this build reads 1");
  }
  const std::string_view covered = bytes.substr(0, bytes.size() - 4);
  if (Crc32c(covered, Crc32c(kScrubKey)) != LoadFixed<std::uint32_t>(bytes.data() + covered.size()))
    return DataLoss("the row of the scrub has a wrong checksum");
  ByteReader in(covered.substr(1));
  ScrubState state;
  state.last = ReadPass(&in);
  state.running = ReadPass(&in);
  if (!in.AtEnd()) return DataLoss("the row of the scrub is malformed");
  return state;
}

}  // namespace chronolith

#include "index/postings.h"

namespace chronolith {
namespace {

constexpr std::size_t kBitsFrom = 1024;  // shorter arrays merge fast enough
constexpr std::size_t kBitsTo = 4096;    // longer ones are bits already

}  // namespace

Postings::Postings(OrdinalSet set) : set_(std::move(set)) {
  if (set_.size() < kBitsFrom) return;
  const std::vector<std::uint32_t> ordinals = set_.ToVector();
  for (std::size_t begin = 0; begin < ordinals.size();) {
    const std::uint32_t high = ordinals[begin] >> 16;
    std::size_t end = begin;
    while (end < ordinals.size() && ordinals[end] >> 16 == high) ++end;
    if (end - begin >= kBitsFrom && end - begin <= kBitsTo) {
      Bits bits{high, std::make_unique<std::uint64_t[]>(kWords)};
      for (std::size_t i = begin; i < end; ++i) bits.words[(ordinals[i] & 0xffff) >> 6] |= 1ULL << (ordinals[i] & 63);
      bits_.push_back(std::move(bits));
    }
    begin = end;
  }
}

std::size_t Postings::Keep(std::span<std::uint32_t> ordinals) const {
  std::size_t kept = 0;
  auto bits = bits_.begin();
  for (std::size_t i = 0; i < ordinals.size();) {
    const std::uint32_t high = ordinals[i] >> 16;
    while (bits != bits_.end() && bits->high < high) ++bits;
    if (bits == bits_.end() || bits->high != high) {
      for (; i < ordinals.size() && ordinals[i] >> 16 == high; ++i) {
        if (set_.Contains(ordinals[i])) ordinals[kept++] = ordinals[i];
      }
      continue;
    }
    const std::uint64_t* const words = bits->words.get();
    for (; i < ordinals.size() && ordinals[i] >> 16 == high; ++i) {
      const std::uint32_t ordinal = ordinals[i];
      ordinals[kept] = ordinal;  // without a branch: whether it stays is close to random
      kept += words[(ordinal & 0xffff) >> 6] >> (ordinal & 63) & 1;
    }
  }
  return kept;
}

}  // namespace chronolith

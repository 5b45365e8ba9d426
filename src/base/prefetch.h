// Fetching bytes into the processor's cache before their turn comes.
#ifndef CHRONOLITH_BASE_PREFETCH_H_
#define CHRONOLITH_BASE_PREFETCH_H_

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace chronolith {

// In front of every function that only prefetches: GCC 12 else finds that it does nothing, and leaves it out.
#define CHRONOLITH_PREFETCHES [[gnu::always_inline]] inline

// The first lines only: behind them the processor sees by itself where it goes.
CHRONOLITH_PREFETCHES void Prefetch(std::string_view bytes) {
  constexpr std::size_t kLine = 64, kBytesMax = 8 * kLine;
  for (std::size_t at = 0; at < std::min(bytes.size(), kBytesMax); at += kLine) __builtin_prefetch(bytes.data() + at);
}

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_PREFETCH_H_

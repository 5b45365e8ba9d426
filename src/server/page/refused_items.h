// How much the receivers of a server have refused: in front of the store, which knows nothing of it, or by its word.
#ifndef CHRONOLITH_SERVER_PAGE_REFUSED_ITEMS_H_
#define CHRONOLITH_SERVER_PAGE_REFUSED_ITEMS_H_

#include <prometheus/collectable.h>

#include <cstdint>

namespace chronolith::server {

// The sum of remote write's and OTLP's counters in `registry`. Thread safety: that of Collect.
std::uint64_t RefusedItems(const prometheus::Collectable& registry);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_PAGE_REFUSED_ITEMS_H_

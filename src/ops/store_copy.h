// Copies what a store shows into another one, series by series: what is deleted or past retention stays behind.
#ifndef CHRONOLITH_OPS_STORE_COPY_H_
#define CHRONOLITH_OPS_STORE_COPY_H_

#include <cstddef>
#include <cstdint>
#include <functional>

#include "chronolith/storage.h"
#include "ops/context.h"

namespace chronolith::ops {

struct StoreFigures {
  std::uint64_t series = 0, samples = 0, histograms = 0, exemplars = 0, metadata = 0;
  std::uint64_t items() const { return samples + histograms + exemplars + metadata; }
  void Add(const StoreFigures& other);
  friend bool operator==(const StoreFigures&, const StoreFigures&) = default;
};

// Series in an order that is the same each time, as long as nothing is written to the source: by ids in pieces of so many, each
// in the order of its labels.
inline constexpr std::size_t kCopyAtOnce = 1 << 14;

struct StoreCopyOptions {
  std::uint64_t position = 0;  // series to be passed by: they have been copied
  std::size_t series_at_once = kCopyAtOnce;
  std::size_t batch_items = 32 << 10;
  // Called after each batch: all of the first `position` series is logged in the target. An error ends the copy.
  std::function<Status(std::uint64_t position)> on_batch;
};

struct StoreCopyReport {
  StoreFigures copied;
  std::uint64_t without_data = 0;  // series that have neither samples, exemplars nor metadata left; they stay behind
};

// All samples, histograms, exemplars, metadata, and the retention floor. What is there twice, since a copy was cut short, is the
// same: so it goes on at any position up to which all is there. A sample that the target refuses ends it. Memory: series_piece.h,
// and a batch.
Status CopyStore(const OpsContext& context, Storage* source, Storage* target, const StoreCopyOptions& options,
                 StoreCopyReport* report);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_STORE_COPY_H_

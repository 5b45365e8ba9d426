// PostingsMergeFunction: folds the 'h' and 'p' rows of a family index.<k> (format/index_rows.h), so that adding a series to
// postings reads nothing.
#ifndef CHRONOLITH_INDEX_POSTINGS_MERGE_H_
#define CHRONOLITH_INDEX_POSTINGS_MERGE_H_

#include "chronolith/kv_engine.h"

namespace chronolith {

// An operand says "add A, then R is gone" with disjoint sets A and R. Two operands compose to
//   A = (A1 - R2) + A2,  R = (R1 - A2) + R2
// which is associative. Over an existing value only A is kept; without one R stays, because the result may be an operand again.
// Damaged input fails the fold. Thread safety: stateless.
class PostingsMergeFunction : public MergeFunction {
 public:
  std::string_view Name() const override { return "chronolith.postings.1"; }
  bool Merge(std::string_view key, const std::string_view* existing, std::span<const std::string_view> operands,
             std::string* result) const override;
};

// Drops postings and hash rows that hold no series any more: the labels of a series that left the index would otherwise be
// enumerated for ever. Thread safety: stateless.
class EmptyPostingsFilter : public DropFilter {
 public:
  std::string_view Name() const override { return "chronolith.empty_postings.1"; }
  bool ShouldDrop(std::string_view key, std::string_view value) const override;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_POSTINGS_MERGE_H_

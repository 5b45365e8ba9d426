// Sorting by labels, of which a query may have a million.
#ifndef CHRONOLITH_QUERY_LABEL_ORDER_H_
#define CHRONOLITH_QUERY_LABEL_ORDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "chronolith/labels.h"

namespace chronolith {

// Appends a form of the labels whose byte order is the order of Labels (encoded() has lengths, so its byte order is another):
// names and values each end with 0x00; 0x00 and 0x01 in them become 0x01 0x01 and 0x01 0x02.
void AppendSortable(const Labels& labels, std::string* to);

// The permutation that sorts: result[i] is the index of the i-th in order. Equal labels keep their order.
// Cost: a few passes over the bytes and n log n comparisons of 8 cached ones; twice the labels' memory meanwhile.
std::vector<std::uint32_t> SortedByLabels(const std::vector<Labels>& labels);

}  // namespace chronolith

#endif  // CHRONOLITH_QUERY_LABEL_ORDER_H_

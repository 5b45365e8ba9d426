// Makes each reference to a series of a store expire.
#ifndef CHRONOLITH_TESTS_SUPPORT_STALE_REFERENCES_H_
#define CHRONOLITH_TESTS_SUPPORT_STALE_REFERENCES_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "chronolith/storage.h"

namespace chronolith::testing_support {

// Removes all series, and as many others after them as a store of one shard keeps the labels of: what has one of the old references
// is refused with kNotFound. The store is empty afterwards.
inline void ExpireReferences(Storage* store, Timestamp now) {
  constexpr int kOthers = 65'536 + 1, kBatch = 8192;
  const auto remove_all = [&] {
    ASSERT_TRUE(store->Checkpoint().ok());
    ASSERT_TRUE(store->Delete({Matcher::Regex("__name__", ".+")}, {}).ok());
    ASSERT_TRUE(store->Compact().ok());
  };
  remove_all();
  for (int at = 0; at < kOthers; at += kBatch) {
    std::vector<TimeSeries> batch;
    for (int i = at; i < std::min(kOthers, at + kBatch); ++i) {
      batch.push_back({.labels = {{"__name__", "other"}, {"i", std::to_string(i)}}, .samples = {{now, 1}}});
    }
    ASSERT_TRUE(store->Write(batch).ok());
  }
  remove_all();
}

}  // namespace chronolith::testing_support

#endif  // CHRONOLITH_TESTS_SUPPORT_STALE_REFERENCES_H_

// Any bytes as an index row (first byte: length of the key): what decodes also encodes and decodes again, sealed nonsense is
// refused, and merging damaged operands fails instead of crashing.
#include <string>
#include <vector>

#include "format/index_rows.h"
#include "index/postings_merge.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

void CheckPostings(std::string_view key, std::string_view value) {
  std::vector<index_rows::PostingSets> entries;
  if (!index_rows::DecodePostings(key, value, &entries).ok()) return;
  const std::string again = index_rows::EncodePostings(key, entries);
  std::vector<index_rows::PostingSets> decoded;
  FUZZ_CHECK(index_rows::DecodePostings(key, again, &decoded).ok() && decoded.size() == entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    FUZZ_CHECK(decoded[i].added.ToVector() == entries[i].added.ToVector());
    FUZZ_CHECK(decoded[i].removed.ToVector() == entries[i].removed.ToVector());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes = FuzzBytes(data + 1, size - 1);
  const std::string_view key = bytes.substr(0, data[0]);
  std::string sealed = "\x01";
  sealed.append(bytes.substr(key.size()));
  index_rows::SealValue(key, &sealed);

  index_rows::ParsedPairKey parsed;
  if (index_rows::ParsePairKey(key, &parsed) && !parsed.folded()) {
    index_rows::PairKey again = index_rows::MakePairKey(parsed.name, parsed.value);
    index_rows::AppendHigh(parsed.high, &again.bytes);
    FUZZ_CHECK(!again.text.empty() || again.bytes == key);
  }
  CheckPostings(key, sealed);
  index_rows::HashSets sets;
  (void)index_rows::DecodeHashValue(key, sealed, &sets);
  index_rows::LongRow row;
  if (index_rows::DecodeLongRow(key, sealed, &row).ok()) {
    Metadata metadata;
    if (index_rows::DecodeMetadata(row.bytes, &metadata)) {
      std::string again;
      index_rows::EncodeMetadata(metadata, &again);
      Metadata decoded;
      FUZZ_CHECK(index_rows::DecodeMetadata(again, &decoded) && decoded == metadata);
    }
  }
  // The state row has a key of its own.
  std::string state = "\x01" + std::string(bytes);
  index_rows::SealValue(index_rows::StateKey(), &state);
  (void)index_rows::DecodeState(state);

  const std::string_view value = sealed;
  const std::vector<std::string_view> operands{value, value};
  std::string merged;
  if (PostingsMergeFunction().Merge(key, nullptr, operands, &merged)) {
    const std::vector<std::string_view> result{merged};
    std::string again;
    FUZZ_CHECK(PostingsMergeFunction().Merge(key, nullptr, result, &again) && again == merged);
    FUZZ_CHECK(PostingsMergeFunction().Merge(key, &value, result, &again));
  }
  (void)EmptyPostingsFilter().ShouldDrop(key, value);
  return 0;
}

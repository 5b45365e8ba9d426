// Any bytes as an item of a log record (byte 0: histogram, exemplar or metadata): what decodes encodes to bytes that decode and
// encode to themselves, and is refused or accepted by name.
#include "storage/items.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr ItemType kTypes[] = {ItemType::kHistogram, ItemType::kExemplar, ItemType::kMetadata};
  const ItemType type = kTypes[data[0] % 3];
  Item item;
  if (!DecodeItem(type, FuzzBytes(data, size).substr(1), &item).ok()) return 0;
  FUZZ_CHECK(TypeOf(item) == type);
  const Status valid = ValidateItem(item);
  FUZZ_CHECK(valid.ok() || !valid.message().empty());
  const std::string once = EncodeItem(item);
  Item again;
  FUZZ_CHECK(DecodeItem(type, once, &again).ok());
  FUZZ_CHECK(EncodeItem(again) == once);
  return 0;
}

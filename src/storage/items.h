// Items: what a log record of type kItems carries: histograms, exemplars, metadata. One item is encoded as a chunk of one sample
// (chunk/histogram_chunk.h, chunk/exemplar_chunk.h), so there is one codec for log and chunks.
// Metadata: u8 version (1) | u8 type | length-prefixed unit | length-prefixed help.
#ifndef CHRONOLITH_STORAGE_ITEMS_H_
#define CHRONOLITH_STORAGE_ITEMS_H_

#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/ordinal_set.h"
#include "chronolith/status.h"
#include "chronolith/types.h"
#include "format/series_id.h"
#include "format/wal_record.h"

namespace chronolith {

using Item = std::variant<HistogramSample, Exemplar, Metadata>;

inline constexpr std::size_t kMetadataBytesMax = 16 << 10;
inline constexpr std::size_t kExemplarLabelBytesMax = 1024;

ItemType TypeOf(const Item& item);
std::string EncodeItem(const Item& item);
Status DecodeItem(ItemType type, std::string_view bytes, Item* item);
// kInvalidArgument naming what is wrong with it.
Status ValidateItem(const Item& item);

// Ordinals of a delete record: portable roaring bytes.
std::string EncodeOrdinals(const OrdinalSet& ordinals);
// How many of `ascending`, from the front, EncodeOrdinals keeps within kOrdinalBytesMax; at least one where there is one.
inline constexpr std::size_t kOrdinalBytesMax = 32 << 10;
std::size_t OrdinalsThatFit(std::span<const Ordinal> ascending);
Status DecodeOrdinals(std::string_view bytes, OrdinalSet* ordinals);

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_ITEMS_H_

// The checks that every engine makes of what callers hand it, in one place so that engines refuse alike. Pure functions.
#ifndef CHRONOLITH_PLUGINS_COMMON_ENGINE_CHECKS_H_
#define CHRONOLITH_PLUGINS_COMMON_ENGINE_CHECKS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "chronolith/kv_engine.h"

namespace chronolith {

// The bytes that a batch adds to an engine's buffers, estimated: keys, values, and a constant an operation.
inline constexpr std::uint64_t kOpOverheadBytes = 16;
std::uint64_t BatchBytes(const Batch& batch);

// kInvalidArgument for families without a name, named "default" (reserved for the engine), named twice, or none at all.
Status CheckFamilies(const EngineOptions& options);

// kInvalidArgument naming the first setting of `options.extra` that is not in `known`.
Status CheckExtra(const EngineOptions& options, std::string_view engine, std::initializer_list<std::string_view> known);

// kInvalidArgument for a key, value or batch over the limits, a reversed range, or a merge in a family that takes none.
Status CheckBatch(const Batch& batch, const FamilySpec& family, const Limits& limits);

// kFenced where `batch_epoch` is older than the family's. Epoch 0 is older than every epoch that was acquired.
Status CheckEpoch(std::string_view family, Epoch batch_epoch, Epoch family_epoch);

// kDeadlineExceeded naming `what`.
Status CheckDeadline(Deadline deadline, std::string_view what);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_COMMON_ENGINE_CHECKS_H_

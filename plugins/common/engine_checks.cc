#include "plugins/common/engine_checks.h"

#include <algorithm>
#include <set>
#include <string>

namespace chronolith {
namespace {

std::string Quoted(std::string_view name) { return std::string("'").append(name).append("'"); }

Status TooLong(std::string_view what, const FamilySpec& family, std::uint64_t bytes, std::uint64_t limit) {
  return InvalidArgument(std::string(what) + " of " + std::to_string(bytes) + " bytes in family " + Quoted(family.name) +
                         ", the limit is " + std::to_string(limit));
}

}  // namespace

std::uint64_t BatchBytes(const Batch& batch) {
  std::uint64_t bytes = 0;
  for (const Op& op : batch.ops) bytes += op.key.size() + op.value.size() + kOpOverheadBytes;
  return bytes;
}

Status CheckFamilies(const EngineOptions& options) {
  if (options.families.empty()) return InvalidArgument("an engine needs at least one family");
  if (options.quarantine && options.instance == InstanceRole::kLog && !options.read_only) {
    return InvalidArgument("quarantine is for data instances: on a log instance that is written to it would hide lost records");
  }
  std::set<std::string_view> seen;
  for (const FamilySpec& family : options.families) {
    if (family.name.empty()) return InvalidArgument("a family has an empty name");
    if (family.name == "default") return InvalidArgument("the family name 'default' is reserved for the engine");
    if (!seen.insert(family.name).second) return InvalidArgument("family " + Quoted(family.name) + " is listed twice");
  }
  return Status::Ok();
}

Status CheckExtra(const EngineOptions& options, std::string_view engine, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : options.extra) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    return InvalidArgument("unknown setting " + Quoted(key) + " of engine " + Quoted(engine));
  }
  return Status::Ok();
}

Status CheckBatch(const Batch& batch, const FamilySpec& family, const Limits& limits) {
  std::uint64_t bytes = 0;
  for (const Op& op : batch.ops) {
    const bool range = op.type == Op::Type::kDeleteRange;
    if (op.key.size() > limits.key_bytes_max) return TooLong("key", family, op.key.size(), limits.key_bytes_max);
    const std::uint64_t value_max = range ? limits.key_bytes_max : limits.value_bytes_max;
    if (op.value.size() > value_max) return TooLong(range ? "end of range" : "value", family, op.value.size(), value_max);
    if (range && op.value < op.key) return InvalidArgument("reversed range in family " + Quoted(family.name));
    if (op.type == Op::Type::kMerge && family.merge == nullptr) {
      return InvalidArgument("merge in family " + Quoted(family.name) + ", which has no merge function");
    }
    bytes += op.key.size() + op.value.size();
  }
  if (bytes > limits.batch_bytes_max) return TooLong("batch", family, bytes, limits.batch_bytes_max);
  return Status::Ok();
}

Status CheckEpoch(std::string_view family, Epoch batch_epoch, Epoch family_epoch) {
  if (batch_epoch >= family_epoch) return Status::Ok();
  return Fenced("family " + Quoted(family) + " is at epoch " + std::to_string(family_epoch) + ", the write carries " +
                std::to_string(batch_epoch));
}

Status CheckDeadline(Deadline deadline, std::string_view what) {
  if (deadline == kNoDeadline || std::chrono::steady_clock::now() < deadline) return Status::Ok();
  return DeadlineExceeded(std::string(what) + ": the deadline passed before it began");
}

}  // namespace chronolith

#include "plugins/memory/memory_state.h"

#include <algorithm>
#include <utility>

#include "plugins/common/engine_checks.h"

namespace chronolith {
namespace {

void ApplyMerge(PersistentMap* map, std::string_view key, const std::string& operand, const MergeFunction& merge) {
  const MapValue* row = map->Find(key);
  if (row != nullptr && row->damaged) return;  // stays damaged until it is put or deleted
  const std::string_view existing = row == nullptr ? std::string_view() : std::string_view(row->bytes);
  const std::string_view operands[] = {operand};
  std::string result;
  const bool merged = merge.Merge(key, row == nullptr ? nullptr : &existing, operands, &result);
  map->Set(key, MakeMapValue(std::move(result), !merged));
}

}  // namespace

OwnedBatch CopyBatch(const Batch& batch) {
  OwnedBatch copy;
  copy.bytes = BatchBytes(batch);
  copy.ops.reserve(batch.ops.size());
  for (const Op& op : batch.ops) {
    OwnedBatch::Operation owned{op.type, std::string(op.key), {}, {}};
    if (op.type == Op::Type::kDeleteRange) owned.end = op.value;
    if (op.type == Op::Type::kPut || op.type == Op::Type::kMerge) owned.value = MakeMapValue(std::string(op.value));
    copy.ops.push_back(std::move(owned));
  }
  return copy;
}

void MemoryFamily::ApplyTo(PersistentMap* map, const OwnedBatch& batch) const {
  for (const OwnedBatch::Operation& op : batch.ops) {
    switch (op.type) {
      case Op::Type::kPut:
        map->Set(op.key, op.value);
        break;
      case Op::Type::kDelete:
        map->Erase(op.key);
        break;
      case Op::Type::kMerge:
        ApplyMerge(map, op.key, op.value->bytes, *merge);
        break;
      case Op::Type::kDeleteRange:
        map->EraseRange(op.key, op.end);
        break;
    }
  }
}

void MemoryFamily::Apply(OwnedBatch batch) {
  ApplyTo(&live, batch);
  pending_bytes += batch.bytes;
  pending.push_back(std::move(batch));
}

void MemoryFamily::Flush() {
  durable = live;
  pending.clear();
  pending_bytes = 0;
}

PersistentMap MemoryFamily::Durable(std::uint64_t synced_log_number) const {
  PersistentMap map = durable;
  for (const OwnedBatch& batch : pending) {
    if (batch.log_number != 0 && batch.log_number <= synced_log_number) ApplyTo(&map, batch);
  }
  return map;
}

void MemoryFamily::Crash(std::uint64_t persisted, std::uint64_t log_number) {
  std::deque<OwnedBatch> kept;
  pending_bytes = 0;
  for (OwnedBatch& batch : pending) {
    if (persisted > 0) {
      --persisted;
      ApplyTo(&durable, batch);
    } else if (batch.log_number != 0 && batch.log_number <= log_number) {
      pending_bytes += batch.bytes;
      kept.push_back(std::move(batch));
    }
  }
  pending = std::move(kept);
  live = durable;
  for (const OwnedBatch& batch : pending) ApplyTo(&live, batch);
}

void MemoryFamily::ApplyLate(Adversary* adversary, bool forget_rest) {
  std::vector<OwnedBatch> rest;
  for (OwnedBatch& batch : late) {
    if (adversary->Below(2) == 0) {
      Apply(std::move(batch));
    } else if (!forget_rest) {
      rest.push_back(std::move(batch));
    }
  }
  late = std::move(rest);
}

void MemoryInstance::Crash(CrashKind kind, bool keep_prefix, Adversary* adversary) {
  ++incarnation;
  writers = 0;
  std::uint64_t survives = log_number;
  if (kind == CrashKind::kPowerLoss) {
    const std::uint64_t unsynced = log_number - synced_log_number;
    survives = synced_log_number + (keep_prefix ? adversary->Below(unsynced + 1) : 0);
    synced_log_number = survives;  // it is on the disk
    for (auto& [name, family] : families) family->late.clear();  // it was under way to this machine
  }
  for (auto& [name, family] : families) {
    family->Crash(keep_prefix ? adversary->Below(family->pending.size() + 1) : 0, survives);
  }
}

std::shared_ptr<MemoryInstance> MemoryInstance::Copy(bool survivors_only) {
  auto copy = std::make_shared<MemoryInstance>();
  MutexLock lock(&copy->mu);
  for (const auto& [name, family] : families) {
    auto twin = std::make_unique<MemoryFamily>(name);
    twin->epoch = family->epoch;
    twin->merge = family->merge;
    const bool all_survive = !survivors_only || std::all_of(family->pending.begin(), family->pending.end(),
                                                            [](const OwnedBatch& b) { return b.log_number != 0; });
    twin->durable = all_survive ? family->live : family->Durable(log_number);
    twin->live = twin->durable;
    copy->families.emplace(name, std::move(twin));
  }
  return copy;
}

}  // namespace chronolith

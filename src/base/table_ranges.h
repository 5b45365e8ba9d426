// TableRanges: what an engine may be able to say of the files of a family beside the KvEngine contract, for tools that must tell
// what a file that is gone may have held. An engine that can inherits it; whoever asks does without where it does not
// (dynamic_cast).
#ifndef CHRONOLITH_BASE_TABLE_RANGES_H_
#define CHRONOLITH_BASE_TABLE_RANGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "chronolith/kv_engine.h"

namespace chronolith {

// As an open found it that looked (EngineOptions::quarantine).
enum class TableState : std::uint8_t {
  kSound,
  kDamaged,     // missing, or its bytes are wrong
  kUnreadable,  // the device or the system did not give its bytes, which may pass
};

// A file that the engine lists, whether or not it can be read.
struct TableRange {
  std::string file;               // its name, within the instance's directory
  std::string smallest, largest;  // of its keys, both inclusive
  TableState state = TableState::kSound;
};

class TableRanges {
 public:
  virtual ~TableRanges() = default;
  // Also of a family that is damaged (KvEngine::Damage), and of what families share (kSharedFiles).
  virtual std::vector<TableRange> Tables(FamilyId family) const = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_TABLE_RANGES_H_

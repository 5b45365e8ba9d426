// The files of a store's two instances, and what the engine wrote down of its settings: from the directories alone.
#ifndef CHRONOLITH_OPS_INSTANCE_FILES_H_
#define CHRONOLITH_OPS_INSTANCE_FILES_H_

#include <vector>

#include "ops/inspect.h"

namespace chronolith::ops {

// By instance and name. What cannot be looked at (it vanishes beside a writer) is left out.
std::vector<InstanceFile> ListInstanceFiles(const OfflineStore& store);
// From the newest OPTIONS file of each instance; settings that all families of a kind share stand once. Empty where the engine
// writes none.
std::vector<EngineSetting> ReadEngineSettings(const OfflineStore& store);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_INSTANCE_FILES_H_

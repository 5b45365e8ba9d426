// What a store's directory holds, for all who open or write one: the store itself, and tools that must not start it.
//
//   STORE       the manifest
//   UNFINISHED  what was given up by an open that did not come to its end (unfinished.h)
//   data/       the data instance: family 0 `meta`, then index.<k> and chunk.<k> of each shard k
//   log/        the log instance (or where the manifest says): family 0 `meta`, then wal.<k>
#ifndef CHRONOLITH_STORAGE_STORE_DIRECTORY_H_
#define CHRONOLITH_STORAGE_STORE_DIRECTORY_H_

#include <set>
#include <span>
#include <string>
#include <string_view>

#include "chronolith/engine_registry.h"
#include "chronolith/kv_engine.h"
#include "chronolith/result.h"
#include "format/series_id.h"
#include "format/store_manifest.h"

namespace chronolith {

inline constexpr FamilyId kMetaFamily = 0;  // of both instances
inline constexpr FamilyId WalFamily(ShardId shard) { return 1 + shard; }
inline constexpr FamilyId IndexFamily(ShardId shard) { return 1 + 2 * shard; }
inline constexpr FamilyId ChunkFamily(ShardId shard) { return 2 + 2 * shard; }

std::string DataInstancePath(const std::string& path);
std::string LogInstancePath(const std::string& path, const StoreManifest& manifest);
// Role and families, with their merge functions and without filters that drop rows; for the rest the defaults.
EngineOptions DataInstanceOptions(const StoreManifest& manifest);
EngineOptions LogInstanceOptions(const StoreManifest& manifest);

// kNotFound: there is no database. kFailedPrecondition: it is none, or of a newer format. kDataLoss. Each names the file.
Result<StoreManifest> ReadStoreManifest(const std::string& path);
// Synced, with the name of the directory in its parent where that may be read.
Status WriteStoreManifest(const std::string& path, const StoreManifest& manifest);
// kNotFound, of an instance that lacks something while the manifest is not complete: no write can have been acknowledged.
Status CreationCutShort();
// Of a copy of the store: it has a new, random incarnation, and its log beside it.
StoreManifest ManifestOfCopy(const StoreManifest& manifest);

// Of an instance, open for writing: writes whose it is, synced. `more`: other rows of `meta`, written with it.
Status WriteIdentity(KvEngine* engine, const StoreManifest& manifest, std::span<const Op> more = {});
// Opens an instance of a copy for a moment and writes whose it is now. `options`: as the store opens it, without the filters that
// drop rows.
Status IdentifyCopy(EngineFactory* factory, const std::string& path, EngineOptions options, const StoreManifest& manifest);
// kNotFound: it has none. kDataLoss. kFailedPrecondition: it belongs to another store, or to another copy of this one; the message
// begins with `instance` ("log", "data").
Status CheckIdentity(KvEngine* engine, const StoreManifest& manifest, std::string_view instance);

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_STORE_DIRECTORY_H_

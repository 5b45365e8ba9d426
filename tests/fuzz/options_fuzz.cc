// Any bytes as options of a store and settings of its engines: each is accepted or refused by name, nothing is made on disk, and
// the time that an accepted interval ends can be computed. The bytes are numbers for the fields of Options, then text: lines
// "key=value" of EngineOptions::extra.
#include <string>

#include "base/coding.h"
#include "chronolith/storage.h"
#include "plugins/memory/memory_engine.h"
#if defined(CHRONOLITH_FUZZ_ROCKSDB)
#include "plugins/rocksdb/options_table.h"
#endif
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

// One of the fields gets a number from the input, so that the others do not hide what is said of it; now and then all do.
void Fill(ByteReader* reader, Options* options) {
  const auto choice = reader->Fixed<std::uint8_t>();
  const auto mine = [&](std::uint8_t field) { return choice == field || choice >= 200; };
  if (mine(0)) options->shards = static_cast<int>(reader->SignedVarint());
  if (mine(1)) options->window_ms = reader->SignedVarint();
  if (mine(2)) options->retention_ms = reader->SignedVarint();
  if (mine(3)) options->sync_interval_ms = reader->SignedVarint();
  if (mine(4)) options->commit_interval_ms = reader->SignedVarint();
  if (mine(5)) options->backpressure_wait_ms = reader->SignedVarint();
  if (mine(6)) options->checkpoint_interval_ms = reader->SignedVarint();
  if (mine(7)) options->ring_bytes = reader->Varint();
  if (mine(8)) options->checkpoint_bytes = reader->Varint();
  if (mine(9)) options->max_samples_per_chunk = static_cast<std::uint32_t>(reader->Varint());
  if (mine(10)) options->max_labels_per_series = static_cast<std::uint32_t>(reader->Varint());
  if (mine(11)) options->background_threads = static_cast<int>(reader->SignedVarint());
  if (mine(12)) options->memory_limit_bytes = reader->Varint();
  if (mine(14)) options->scrub_interval_ms = reader->SignedVarint();
  if (mine(13)) options->engine = std::string(reader->LengthPrefixed());
}

void CheckStore(const Options& options) {
  const auto opened = Storage::Open(options, "/nonexistent/chronolith");
  FUZZ_CHECK(!opened.ok());
  if (opened.status().code() == StatusCode::kInvalidArgument) {
    FUZZ_CHECK(opened.status().message().starts_with("Options::"));
    return;
  }
  FUZZ_CHECK(opened.status().code() == StatusCode::kNotFound);
  const auto now = std::chrono::steady_clock::now();
  for (const std::int64_t ms : {options.window_ms, options.retention_ms, options.sync_interval_ms, options.commit_interval_ms,
                                options.backpressure_wait_ms, options.checkpoint_interval_ms, options.scrub_interval_ms}) {
    FUZZ_CHECK(now + std::chrono::milliseconds(ms) >= now);
  }
  FUZZ_CHECK(options.shards >= 1 && options.shards <= 31 && options.background_threads >= 0);
}

void CheckEngines(std::string_view text) {
  EngineOptions options;
  options.families.push_back({"f", FamilyRole::kMeta, nullptr, nullptr});
  options.create_if_missing = false;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t equals = std::min(line.find('='), line.size());
    options.extra[std::string(line.substr(0, equals))] = line.substr(std::min(line.size(), equals + 1));
  }
  static const auto memory = MakeMemoryEngineFactory();
  const Status refused = memory->Open("/nonexistent/chronolith", options).status();
  FUZZ_CHECK(refused.code() == (options.extra.empty() ? StatusCode::kNotFound : StatusCode::kInvalidArgument));
#if defined(CHRONOLITH_FUZZ_ROCKSDB)
  const auto settings = ParseSettings(options);
  const auto mode = options.extra.find("wal_recovery_mode");
  const auto repair = options.extra.find("repair");
  bool known = true;
  for (auto it = options.extra.begin(); it != options.extra.end(); ++it) {
    known = known && ((it == mode && (mode->second == "strict" || mode->second == "tolerate_tail")) ||
                      (it == repair && repair->second == "tables" && !options.read_only));
  }
  FUZZ_CHECK(settings.ok() == known);
  FUZZ_CHECK(known || settings.status().code() == StatusCode::kInvalidArgument);
  FUZZ_CHECK(!known || settings->repair == (repair != options.extra.end()));
  FUZZ_CHECK(!known || settings->tolerate_tail == (mode != options.extra.end() && mode->second == "tolerate_tail"));
#endif
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader reader(FuzzBytes(data, size));
  Options options;
  options.create_if_missing = false;
  Fill(&reader, &options);
  CheckStore(options);
  if (reader.ok()) CheckEngines(reader.Bytes(reader.remaining()));
  return 0;
}

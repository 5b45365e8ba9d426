// The status page over a store in memory, for the browser's test: page_server [--sample-ms N]. Prints its port; then each line of
// stdin is obeyed and answered with "ok": "write SAMPLES", "quarantine SHARD", "replay SHARD", "heal". Ends with its stdin.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "chronolith/storage.h"
#include "server/http_server.h"
#include "server/page/page_handlers.h"
#include "tests/server/page/altered_storage.h"
#include "tests/support/temp_directory.h"

namespace chronolith::server {
namespace {

// One sample each of 500 series at most, of seven metrics.
Status WriteSome(Storage* storage, std::uint32_t samples) {
  static std::int64_t now = 1'700'000'000'000;
  now += 1000;
  std::vector<TimeSeries> batch;
  for (std::uint32_t i = 0; i < samples; ++i) {
    const std::uint32_t series = i % 500;
    batch.push_back({.labels = {{"__name__", "metric_" + std::to_string(series % 7)}, {"path", "/" + std::to_string(series)}},
                     .samples = {{now + i / 500, static_cast<double>(i)}}});
  }
  return storage->Write(batch).status;
}

void Quarantine(AlteredStorage* storage, std::uint32_t shard) {
  storage->Alter([shard](StorageStats* stats) {
    stats->shards[shard].quarantine = "data/000042.sst: block checksum mismatch <img src=x onerror=alert(1)>";
  });
}
void Replay(AlteredStorage* storage, std::uint32_t shard) {
  storage->Alter([shard](StorageStats* stats) {
    stats->shards[shard].serving = false;
    stats->shards[shard].replayed_records = 300;
    stats->shards[shard].replay_records_expected = 1000;
    stats->shards[shard].replay_seconds_left = 42;
  });
}

void Obey(const std::string& line, Storage* store, AlteredStorage* altered) {
  std::istringstream words(line);
  std::string verb;
  std::uint32_t number = 0;
  words >> verb >> number;
  if (verb == "write") {
    const Status status = WriteSome(store, number);
    std::cout << (status.ok() ? "ok" : status.ToString()) << std::endl;
    return;
  }
  if (verb == "quarantine") Quarantine(altered, number);
  if (verb == "replay") Replay(altered, number);
  if (verb == "heal") altered->Restore();
  std::cout << "ok" << std::endl;
}

int Fail(const Status& status) {
  std::cerr << status.ToString() << "\n";
  return 1;
}

int Run(std::chrono::milliseconds interval) {
  Options options;
  options.engine = "memory";
  options.shards = 16;
  const testing_support::TempDirectory directory;
  auto store = Storage::Open(options, directory / "db");
  if (!store.ok()) return Fail(store.status());
  AlteredStorage storage(store->get());
  StatusHistory history(&storage, {.interval = interval});
  LiveCardinality cardinality(store->get(), {.max_age = std::chrono::seconds(0)});
  Router router;
  AddPageHandlers({.storage = &storage, .history = &history, .cardinality = &cardinality, .directories = {"/"}}, &router);
  WorkerPool workers(4, 64);
  MemoryBudget budget(64 << 20);
  HttpMetrics metrics;
  auto server = HttpServer::Start({}, std::move(router), {.workers = &workers, .in_flight = &budget, .metrics = &metrics});
  if (!server.ok()) return Fail(server.status());
  history.Start();
  std::cout << (*server)->port() << std::endl;
  for (std::string line; std::getline(std::cin, line);) Obey(line, store->get(), &storage);
  (*server)->Stop(std::chrono::milliseconds(0));
  return 0;
}

}  // namespace
}  // namespace chronolith::server

int main(int argc, char** argv) {
  const bool given = argc == 3 && std::strcmp(argv[1], "--sample-ms") == 0;
  return chronolith::server::Run(std::chrono::milliseconds(given ? std::atoi(argv[2]) : 5000));
}

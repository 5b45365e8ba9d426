#include "tools/chronolithd/daemon.h"

#include <prometheus/gauge.h>

#include <cstdio>
#include <fstream>
#include <thread>
#include <utility>

#include "ops/writing_store.h"
#include "server/admin_handlers.h"
#include "server/export_handler.h"
#include "server/health_handlers.h"
#include "server/lookup_handlers.h"
#include "server/metadata_handlers.h"
#include "server/otlp_grpc_credentials.h"
#include "server/otlp_http.h"
#include "server/page/page_handlers.h"
#include "server/page/refused_items.h"
#include "server/remote_read_handler.h"
#include "server/tsdb_status_handler.h"

namespace chronolith::daemon {
namespace {

// How many requests wait for a worker before more are answered 429.
constexpr std::size_t kQueuePerWorker = 8;

// What the flags let the process take, of which `database` is the store's; the program itself comes on top (tools/README.md).
std::uint64_t MemoryLimit(const Flags& flags, std::uint64_t database) {
  const std::uint64_t grpc = flags.otlp_grpc_listen == kOff ? 0 : flags.otlp_grpc.memory_bytes;
  return database + flags.in_flight_bytes + flags.in_flight_bytes / 2 + grpc + flags.remote_write.cache_bytes +
         flags.otlp.writer.cache_bytes;
}

// Whole, or not there at all.
Status WritePortFile(const std::string& path, std::uint16_t port) {
  const std::string half = path + ".part";
  std::ofstream out(half);
  out << port << "\n";
  out.close();
  if (!out || std::rename(half.c_str(), path.c_str()) != 0) return IoError("cannot write the port to " + path);
  return Status::Ok();
}

}  // namespace

Daemon::Daemon(const Flags& flags) : flags_(flags), in_flight_(flags.in_flight_bytes), lookups_(flags.in_flight_bytes / 2) {}

Result<std::unique_ptr<Daemon>> Daemon::Start(const Flags& flags) {
  std::unique_ptr<Daemon> daemon(new Daemon(flags));
  if (Status status = daemon->OpenSecurity(); !status.ok()) return status;
  Result<std::unique_ptr<Storage>> storage = Storage::Open(flags.store, flags.db);
  if (!storage.ok()) return storage.status();
  daemon->storage_ = std::move(*storage);
  daemon->history_ = std::make_unique<server::StatusHistory>(
      daemon->storage_.get(),
      server::StatusHistoryOptions{.refused = [registry = daemon->registry_] { return server::RefusedItems(*registry); }});
  daemon->history_->Start();
  daemon->cardinality_ = std::make_unique<server::LiveCardinality>(
      daemon->storage_.get(), server::LiveCardinalityOptions{.in_flight = &daemon->in_flight_});
  daemon->remote_write_ = std::make_unique<server::RemoteWriteHandler>(daemon->storage_.get(), flags.remote_write,
                                                                       &daemon->in_flight_, daemon->registry_.get());
  daemon->otlp_ = std::make_unique<server::OtlpReceiver>(daemon->storage_.get(), flags.otlp, daemon->registry_.get());
  daemon->reopener_ = std::make_unique<server::LogReopener>(
      daemon->storage_.get(),
      server::LogReopenerOptions{.directories = daemon->Directories(),
                                 .logger = flags.store.logger,
                                 .on_reopened =
                                     [remote_write = daemon->remote_write_.get(), otlp = daemon->otlp_.get()] {
                                       remote_write->ForgetTold();
                                       otlp->ForgetTold();
                                     }},
      daemon->registry_.get());
  daemon->reopener_->Start();
  const auto workers = static_cast<std::size_t>(flags.workers);
  daemon->workers_ = std::make_unique<server::WorkerPool>(workers, workers * kQueuePerWorker);
  daemon->writers_ = std::make_unique<server::WorkerPool>(workers, workers * kQueuePerWorker);
  daemon->reserved_ = std::make_unique<server::WorkerPool>(1, kQueuePerWorker);
  const server::HttpServerParts parts{.workers = daemon->workers_.get(),
                                      .writers = daemon->writers_.get(),
                                      .reserved = daemon->reserved_.get(),
                                      .in_flight = &daemon->in_flight_,
                                      .metrics = &daemon->http_metrics_,
                                      .logger = flags.store.logger,
                                      .security = daemon->security_.get()};
  prometheus::BuildGauge()
      .Name("chronolith_server_memory_limit_bytes")
      .Help("Sum of the flags that bound the memory of the process: database, bodies of requests, gRPC, caches of series.")
      .Register(*daemon->registry_)
      .Add({})
      .Set(static_cast<double>(MemoryLimit(flags, daemon->storage_->Stats().memory_limit_bytes)));
  Result<std::unique_ptr<server::HttpServer>> http = server::HttpServer::Start(flags.http, daemon->MakeRouter(), parts);
  if (!http.ok()) return http.status();
  daemon->http_ = std::move(*http);
  if (Status status = daemon->StartOtlp(parts); !status.ok()) return status;
  if (!flags.port_file.empty()) {
    if (Status status = WritePortFile(flags.port_file, daemon->http_->port()); !status.ok()) return status;
  }
  daemon->LogStart();
  daemon->WarnOfOpenPorts();
  return daemon;
}

// All that is wrong with it is said before there is a database. kInvalidArgument.
Status Daemon::OpenSecurity() {
  if (flags_.web_config.empty()) return Status::Ok();
  auto security = server::WebSecuritySource::Open(flags_.web_config, flags_.store.logger);
  if (!security.ok()) return InvalidArgument("--web.config.file: " + security.status().message());
  security_ = std::move(*security);
  if (flags_.otlp_grpc_listen == kOff) return Status::Ok();
  const Status grpc = server::CheckForGrpc(security_->Get()->tls_material.get());
  return grpc.ok() ? grpc : InvalidArgument("--web.config.file: " + grpc.message());
}

std::vector<std::string> Daemon::Directories() const { return ops::StoreDirectories(flags_.db); }

server::Router Daemon::MakeRouter() {
  server::Router router;
  server::AddHealthHandlers(storage_.get(), &http_metrics_, registry_, &router);
  server::AddPageHandlers(
      {.storage = storage_.get(), .history = history_.get(), .cardinality = cardinality_.get(), .directories = Directories()},
      &router);
  remote_write_->AddTo(&router);
  server::AddOtlpHandler(otlp_.get(), &in_flight_, &router);
  server::AddRemoteReadHandler(storage_.get(), &in_flight_, {.timeout = flags_.query_timeout}, &router);
  server::AddLookupHandlers(storage_.get(), &lookups_, flags_.query_timeout, &router);
  server::AddMetadataHandlers(storage_.get(), &lookups_, flags_.query_timeout, &router);
  server::AddExportHandler(storage_.get(), &lookups_, flags_.query_timeout, &router);
  server::AddTsdbStatusHandler(cardinality_.get(), &lookups_, &router);
  server::AddAdminHandlers(storage_.get(), flags_.admin, &router);
  return router;
}

Status Daemon::StartOtlp(const server::HttpServerParts& parts) {
  if (flags_.otlp_http_listen != kOff) {
    server::Router router;
    server::AddOtlpHandler(otlp_.get(), &in_flight_, &router);
    auto http = server::HttpServer::Start(flags_.otlp_http, std::move(router), parts);
    if (!http.ok()) return http.status().WithContext("--otlp-http-listen");
    otlp_http_ = std::move(*http);
  }
  if (flags_.otlp_grpc_listen == kOff) return Status::Ok();
  auto grpc = server::OtlpGrpcServer::Start(flags_.otlp_grpc, {.receiver = otlp_.get(),
                                                               .in_flight = &in_flight_,
                                                               .metrics = &http_metrics_.grpc,
                                                               .security = security_.get(),
                                                               .workers = workers_.get(),
                                                               .logger = flags_.store.logger});
  if (!grpc.ok()) return grpc.status().WithContext("--otlp-grpc-listen");
  otlp_grpc_ = std::move(*grpc);
  return Status::Ok();
}

std::string Daemon::otlp_grpc_address() const { return otlp_grpc_ == nullptr ? std::string() : otlp_grpc_->address(); }

void Daemon::LogStart() const {
  if (flags_.store.logger == nullptr) return;
  std::string text = "chronolithd " CHRONOLITH_VERSION " has opened " + flags_.db + "; HTTP on " + http_->address();
  if (otlp_grpc_ != nullptr) text += ", OTLP over gRPC on " + otlp_grpc_address();
  if (otlp_http_ != nullptr) text += ", OTLP over HTTP on " + otlp_http_->address();
  flags_.store.logger->Log(LogLevel::kInfo, text);
}

void Daemon::LogOnceServing() {
  if (told_serving_ || flags_.store.logger == nullptr) return;
  const StorageStats stats = storage_->Stats();
  std::uint64_t series = 0;
  std::size_t quarantined = 0;
  for (const ShardStats& shard : stats.shards) {
    if (!shard.quarantine.empty()) {
      ++quarantined;
    } else if (!shard.serving) {
      return;
    }
    series += shard.series_total;
  }
  told_serving_ = true;
  char text[160];
  std::snprintf(text, sizeof(text), "%zu of %zu shards serve: %llu series; replaying the log took %.1f s",
                stats.shards.size() - quarantined, stats.shards.size(), static_cast<unsigned long long>(series),
                stats.replay_seconds);
  flags_.store.logger->Log(LogLevel::kInfo, text);
}

void Daemon::WarnOfOpenPorts() const {
  using Auth = server::TlsConfig::ClientAuth;
  const std::shared_ptr<const server::WebSecurity> security = security_ != nullptr ? security_->Get() : nullptr;
  const bool asks = security != nullptr &&
                    (security->users != nullptr ||
                     (security->tls_material != nullptr && security->tls_material->config.client_auth == Auth::kRequireAndVerify));
  if (asks || flags_.store.logger == nullptr) return;
  std::string open;
  for (const std::string& address : {http_->address(), otlp_http_address(), otlp_grpc_address()}) {
    const bool loopback = address.empty() || address.starts_with("127.") || address.starts_with("[::1]:");
    if (!loopback) open += (open.empty() ? "" : ", ") + address;
  }
  if (open.empty()) return;
  flags_.store.logger->Log(LogLevel::kWarning, "whoever reaches " + open + " may write and read" +
                                                   (flags_.admin.enabled ? ", delete and copy" : "") +
                                                   ": --web.config.file has users, tokens and client certificates");
}

std::string Daemon::scheme() const { return security_ != nullptr && security_->Get()->tls != nullptr ? "https://" : "http://"; }

void Daemon::Reload(bool always) {
  if (security_ == nullptr) return;
  security_->Reload(always);
  const bool refuses = otlp_grpc_ != nullptr && !otlp_grpc_->KeepsConfiguration();
  if (refuses && !grpc_refuses_ && flags_.store.logger != nullptr) {
    flags_.store.logger->Log(LogLevel::kError,
                             flags_.web_config +
                                 ": TLS or client_auth_type has changed, which gRPC's port takes at a restart only; "
                                 "it refuses calls until then");
  }
  grpc_refuses_ = refuses;
}

// All at once: the time that requests are given is that of all together.
void Daemon::StopListeners() {
  const auto stop = [&](auto* listener) {
    if (*listener != nullptr) (*listener)->Stop(flags_.shutdown_timeout);
    listener->reset();
  };
  std::thread grpc([&] { stop(&otlp_grpc_); });
  std::thread otlp_http([&] { stop(&otlp_http_); });
  stop(&http_);
  otlp_http.join();
  grpc.join();
}

Status Daemon::Stop() {
  if (storage_ == nullptr) return Status::Ok();
  reopener_.reset();
  StopListeners();
  if (workers_ != nullptr) workers_->Stop();
  if (writers_ != nullptr) writers_->Stop();
  if (reserved_ != nullptr) reserved_->Stop();
  if (flags_.store.logger != nullptr) flags_.store.logger->Log(LogLevel::kInfo, "requests have ended; storing what is in memory");
  remote_write_.reset();  // its appenders go before the store
  cardinality_.reset();
  history_.reset();
  Status status = storage_->Checkpoint();
  if (Status closed = storage_->Close(); status.ok()) status = std::move(closed);
  otlp_.reset();  // Close calls what cancelled calls still waited for
  storage_.reset();
  return status;
}

Daemon::~Daemon() { (void)Stop(); }

}  // namespace chronolith::daemon

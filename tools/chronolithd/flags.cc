#include "tools/chronolithd/flags.h"

#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <thread>

#include "chronolith/file_log_archiver.h"
#include "interop/time_text.h"
#include "ops/target_path.h"
#include "ops/writing_store.h"

namespace chronolith::daemon {
namespace {

constexpr std::uint64_t kMemoryLimitMin = 64 << 20;
constexpr std::uint64_t kNameBytesMin = 8;  // __name__
constexpr std::int64_t kRetentionMsMax = 100LL * 365 * 24 * 60 * 60 * 1000;
constexpr std::int64_t kLongestMs = 365LL * 24 * 3600 * 1000;

CLI::Option* Bytes(CLI::App* app, const std::string& name, std::uint64_t* bytes, const std::string& help) {
  return app->add_option(name, *bytes, help + " (" + std::to_string(*bytes >> 20) + "MiB)")
      ->transform(CLI::AsSizeValue(false))
      ->option_text("BYTES");
}

template <typename Number>
CLI::Option* Count(CLI::App* app, const std::string& name, Number* number, const std::string& help) {
  return app->add_option(name, *number, help + " (" + std::to_string(*number) + ")")->option_text("N");
}

void Milliseconds(CLI::App* app, const std::string& name, std::chrono::milliseconds* value, const std::string& help) {
  app->add_option_function<std::string>(
         name, [value](const std::string& text) { *value = std::chrono::milliseconds(*interop::ParseDuration(text)); },
         help + " (" + std::to_string(value->count() / 1000) + "s)")
      ->check([](const std::string& text) {
        const auto ms = interop::ParseDuration(text);
        if (!ms.ok()) return ms.status().message();
        if (*ms > kLongestMs) return std::string("must not be longer than a year");  // a clock counts nanoseconds
        return *ms == 0 ? std::string("must be longer than 0") : std::string();
      })
      ->option_text("DURATION");
}

bool IsNumericAddress(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return false;
  freeaddrinfo(found);
  return true;
}

// "[::1]:9201" into its parts.
Status SplitAddress(const std::string& flag, const std::string& text, std::string* host, std::uint16_t* port) {
  const std::size_t colon = text.rfind(':');
  *host = colon == std::string::npos ? "" : text.substr(0, colon);
  const std::string number = colon == std::string::npos ? "" : text.substr(colon + 1);
  const bool digits = !number.empty() && number.size() <= 5 &&
                      std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || std::stoul(number) > 65535)
    return InvalidArgument(flag + " takes ADDRESS:PORT, such as 127.0.0.1:9201 or [::1]:9201");
  if (host->size() > 2 && host->front() == '[' && host->back() == ']') *host = host->substr(1, host->size() - 2);
  if (host->empty()) *host = "0.0.0.0";
  if (!IsNumericAddress(*host)) {
    return InvalidArgument(flag + ": '" + *host + "' is not a numeric address to listen on, such as 127.0.0.1:9201 or [::1]:9201");
  }
  *port = static_cast<std::uint16_t>(std::stoul(number));
  return Status::Ok();
}

// With less nothing could be taken, or nothing opened.
Status CheckLimits(const Flags& flags) {
  struct Limit {
    const char* flag;
    std::uint64_t value, least;
  };
  const Limit limits[] = {{"--memory-limit", flags.store.memory_limit_bytes, kMemoryLimitMin},
                          {"--max-series", flags.store.max_series, 1},
                          {"--max-labels", flags.store.max_labels_per_series, 1},
                          {"--max-label-name-bytes", flags.store.max_label_name_bytes, kNameBytesMin},
                          {"--max-label-value-bytes", flags.store.max_label_value_bytes, 1},
                          {"--max-body-bytes", flags.remote_write.body_bytes_max, 1},
                          {"--max-decoded-bytes", flags.remote_write.decoded_bytes_max, 1},
                          {"--max-connections", flags.http.connections_max, 1},
                          {"--otlp-grpc-memory", flags.otlp_grpc.memory_bytes, 1},
                          {"--series-cache-bytes", flags.remote_write.cache_bytes, 0},
                          {"--max-in-flight-bytes", flags.in_flight_bytes, 1}};
  for (const Limit& limit : limits) {
    // A negative number has been read as a huge one.
    if (limit.value > std::numeric_limits<std::uint64_t>::max() / 2)
      return InvalidArgument(std::string(limit.flag) + " is too large, or negative");
    if (limit.value >= limit.least) continue;
    return InvalidArgument(std::string(limit.flag) + " must be at least " + std::to_string(limit.least) + ", not " +
                           std::to_string(limit.value));
  }
  return Status::Ok();
}

// Of the directory, which is made with the first snapshot, or of what there is above it.
Status CheckSnapshotDirectory(const Flags& flags) {
  const std::string& directory = flags.admin.snapshot_directory;
  const auto wrong = [&](const std::string& why) { return InvalidArgument("--snapshot-dir " + directory + ": " + why); };
  for (const std::string& of : ops::StoreDirectories(flags.db)) {
    if (ops::LiesWithin(directory, of)) return wrong("it lies in the database");
  }
  std::error_code error;
  std::filesystem::path there = std::filesystem::absolute(directory, error);
  while (!std::filesystem::exists(std::filesystem::symlink_status(there, error)) && there.has_relative_path()) {
    there = there.parent_path();
  }
  if (!std::filesystem::is_directory(there, error)) return wrong(there.string() + " is no directory");
  if (access(there.c_str(), W_OK | X_OK) != 0) return wrong("cannot write to " + there.string() + ": " + std::strerror(errno));
  return Status::Ok();
}

// It is written beside its place and then takes that: a device's or a pipe's is not to be taken.
Status CheckPortFile(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status there = std::filesystem::status(path, error);
  if (path.empty() || !std::filesystem::exists(there) || std::filesystem::is_regular_file(there)) return Status::Ok();
  return InvalidArgument("--port-file " + path + ": it is no file");
}

// Where OTLP listens, and the limits that it shares with remote write.
Status CompleteOtlp(Flags* flags) {
  const auto otherwise = [&](const char* usual) { return flags->http.port == 0 ? std::string("127.0.0.1:0") : std::string(usual); };
  if (flags->otlp_http_listen.empty()) flags->otlp_http_listen = otherwise(kOtlpHttp);
  if (flags->otlp_grpc_listen.empty()) flags->otlp_grpc_listen = otherwise(kOtlpGrpc);
  flags->otlp_http = flags->http;
  if (flags->otlp_http_listen != kOff) {
    if (Status s = SplitAddress("--otlp-http-listen", flags->otlp_http_listen, &flags->otlp_http.address, &flags->otlp_http.port);
        !s.ok()) {
      return s;
    }
  }
  if (flags->otlp_grpc_listen != kOff) {
    if (Status s = SplitAddress("--otlp-grpc-listen", flags->otlp_grpc_listen, &flags->otlp_grpc.address, &flags->otlp_grpc.port);
        !s.ok()) {
      return s;
    }
  }
  flags->otlp_grpc.connections_max = flags->http.connections_max;
  flags->otlp_grpc.idle_timeout = flags->http.idle_timeout;
  flags->otlp_grpc.message_timeout = flags->http.body_timeout;
  flags->otlp.level = flags->remote_write.level;
  flags->otlp.body_bytes_max = flags->remote_write.body_bytes_max;
  flags->otlp.decoded_bytes_max = flags->remote_write.decoded_bytes_max;
  flags->otlp.writer.cache_bytes = flags->remote_write.cache_bytes;
  return Status::Ok();
}

}  // namespace

void AddFlags(CLI::App* app, Flags* flags) {
  app->add_option("--db", flags->db, "directory of the database; made where there is none")->required()->option_text("DIR");
  app->add_option("--listen", flags->listen, "address and port for HTTP; port 0: any free one (" + flags->listen + ")")
      ->option_text("ADDRESS:PORT");
  app->add_option("--port-file", flags->port_file, "write the port that HTTP listens on into this file, once it does")
      ->option_text("FILE");
  app->add_option("--otlp-grpc-listen", flags->otlp_grpc_listen,
                  std::string("address and port for OTLP over gRPC, or off (") + kOtlpGrpc + ")")
      ->option_text("ADDRESS:PORT");
  app->add_option("--otlp-http-listen", flags->otlp_http_listen,
                  std::string("address and port for OTLP over HTTP, or off (") + kOtlpHttp + ")")
      ->option_text("ADDRESS:PORT");
  app->add_option("--web.config.file", flags->web_config,
                  "TLS and users of all ports, in Prometheus' format; read again when it changes and on SIGHUP")
      ->option_text("FILE");
  app->add_flag("--web.enable-admin-api", flags->admin.enabled, "answer /api/v1/admin/tsdb: deletes and snapshots");
  app->add_option("--snapshot-dir", flags->admin.snapshot_directory, "where snapshots go (beside the database: DIR.snapshots)")
      ->option_text("DIR");
  app->add_option("--log-level", flags->log_level, "debug, info, warning or error (" + flags->log_level + ")")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->option_text("LEVEL");

  CLI::Option_group* store = app->add_option_group("Database");
  store->add_option("--log-dir", flags->store.log_path, "directory of its log, where it is not DIR/log")->option_text("DIR");
  store->add_option("--shards", flags->store.shards, "shards of a new database, 1 to 31 (16)")
      ->check(CLI::Range(1, 31))
      ->option_text("N");
  store->add_option("--retention", flags->retention, "drop what is older than this, such as 30d (keep everything)")
      ->check([](const std::string& text) {
        const auto ms = interop::ParseDuration(text);
        return !ms.ok() ? ms.status().message() : *ms > kRetentionMsMax ? "must be at most a hundred years, not " + text : "";
      })
      ->option_text("DURATION");
  store->add_option("--archive", flags->archive, "directory that keeps what leaves the log, for restores to any moment")
      ->option_text("DIR");
  Bytes(store, "--memory-limit", &flags->store.memory_limit_bytes, "bound on the memory of the database, at least 64MiB");
  Count(store, "--max-series", &flags->store.max_series, "series of the database; more are refused");
  Count(store, "--max-labels", &flags->store.max_labels_per_series, "labels of a series");
  Count(store, "--max-label-name-bytes", &flags->store.max_label_name_bytes, "length of a label's name");
  Count(store, "--max-label-value-bytes", &flags->store.max_label_value_bytes, "length of a label's value");

  CLI::Option_group* writes = app->add_option_group("Writes");
  writes
      ->add_option_function<std::string>(
          "--ack-level", [flags](const std::string& word) { (void)server::ParseAckLevel(word, &flags->remote_write.level); },
          "what an answered write survives: queued nothing, logged kill -9, synced a power loss (logged)")
      ->check(CLI::IsMember({"queued", "logged", "synced"}))
      ->option_text("LEVEL");
  writes
      ->add_option_function<std::string>(
          "--name-validation",
          [flags](const std::string& word) {
            flags->remote_write.names = word == "legacy" ? server::NameValidation::kLegacy : server::NameValidation::kUtf8;
          },
          "names of metrics and labels: utf8 any, legacy those that a Prometheus before 3.0 can read (utf8)")
      ->check(CLI::IsMember({"utf8", "legacy"}))
      ->option_text("WHICH");
  Bytes(writes, "--max-body-bytes", &flags->remote_write.body_bytes_max, "compressed body of a write");
  Bytes(writes, "--max-decoded-bytes", &flags->remote_write.decoded_bytes_max, "decoded body of a write");
  Bytes(writes, "--series-cache-bytes", &flags->remote_write.cache_bytes, "memory for finding series by what requests say of them");

  CLI::Option_group* limits = app->add_option_group("Limits");
  Count(limits, "--max-connections", &flags->http.connections_max,
        "open connections over HTTP (more are closed with 503), and as many of gRPC");
  Bytes(limits, "--otlp-grpc-memory", &flags->otlp_grpc.memory_bytes, "of gRPC's connections and the messages that they receive");
  Bytes(limits, "--max-in-flight-bytes", &flags->in_flight_bytes, "bodies in memory, of all requests together; beyond: 429");
  limits
      ->add_option("--workers", flags->workers,
                   "threads that answer requests, and as many that take writes over HTTP (4 a core, 8 to 64)")
      ->check(CLI::Range(1, 1024))
      ->option_text("N");
  limits->add_option("--io-threads", flags->http.io_threads, "threads that read and write sockets (1)")
      ->check(CLI::Range(1, 64))
      ->option_text("N");
  Milliseconds(limits, "--header-timeout", &flags->http.header_timeout, "for a request's header");
  Milliseconds(limits, "--body-timeout", &flags->http.body_timeout, "for a request's body");
  Milliseconds(limits, "--idle-timeout", &flags->http.idle_timeout, "between two requests of a connection");
  Milliseconds(limits, "--query-timeout", &flags->query_timeout,
               "for a look-up or a remote read, its answer included; of an export for finding its series");
  Milliseconds(limits, "--write-timeout", &flags->http.write_timeout, "for a client to take an answer");
  Milliseconds(limits, "--shutdown-timeout", &flags->shutdown_timeout, "for requests to end after SIGTERM; then they are cut off");
  app->footer(
      "Exit codes: 0 stopped by SIGTERM or SIGINT, all is stored; 1 failure; 2 wrong arguments, or a wrong --web.config.file.\n\n"
      "SIGTERM and SIGINT finish requests, store what only the log has, and end it; a second one ends it at once, which loses\n"
      "nothing that was acknowledged as logged. SIGHUP reads --web.config.file again. As a service it gets its flags from\n"
      "CHRONOLITHD_ARGS in /etc/default/chronolithd, and its database is /var/lib/chronolith/db.\n\n"
      "Examples:\n"
      "  chronolithd --db ./db\n"
      "  chronolithd --db ./db --listen 127.0.0.1:0 --port-file ./port\n"
      "  chronolithd --db ./db --retention 30d --ack-level synced\n\n"
      "In prometheus.yml:\n"
      "  remote_write: [{url: \"http://127.0.0.1:9201/api/v1/write\"}]");
}

Status Complete(Flags* flags) {
  if (Status s = CheckLimits(*flags); !s.ok()) return s;
  if (Status s = SplitAddress("--listen", flags->listen, &flags->http.address, &flags->http.port); !s.ok()) return s;
  if (Status s = CompleteOtlp(flags); !s.ok()) return s;
  if (Status s = CheckPortFile(flags->port_file); !s.ok()) return s;
  if (flags->workers == 0) flags->workers = std::clamp(4 * static_cast<int>(std::thread::hardware_concurrency()), 8, 64);
  if (!flags->retention.empty()) flags->store.retention_ms = *interop::ParseDuration(flags->retention);
  flags->store.wait_for_replay = false;
  if (flags->admin.snapshot_directory.empty()) {
    std::string db = flags->db;
    while (db.size() > 1 && db.back() == '/') db.pop_back();
    flags->admin.snapshot_directory = db + ".snapshots";
  } else if (Status s = CheckSnapshotDirectory(*flags); !s.ok()) {
    return s;
  }
  if (flags->archive.empty()) return Status::Ok();
  FileLogArchiverOptions archive;
  archive.store = flags->db;
  archive.logger = flags->store.logger;
  Result<std::shared_ptr<LogArchiver>> archiver = OpenFileLogArchiver(flags->archive, archive);
  if (!archiver.ok()) return archiver.status();
  flags->store.log_archiver = std::move(*archiver);
  return Status::Ok();
}

}  // namespace chronolith::daemon

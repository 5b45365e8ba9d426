// The command line of chronolithd.
#ifndef CHRONOLITH_TOOLS_CHRONOLITHD_FLAGS_H_
#define CHRONOLITH_TOOLS_CHRONOLITHD_FLAGS_H_

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <string>

#include "chronolith/options.h"
#include "server/admin_handlers.h"
#include "server/http_server.h"
#include "server/otlp_grpc.h"
#include "server/otlp_receiver.h"
#include "server/remote_write_handler.h"

namespace chronolith::daemon {

inline constexpr const char* kOtlpHttp = "127.0.0.1:4318";
inline constexpr const char* kOtlpGrpc = "127.0.0.1:4317";
inline constexpr const char* kOff = "off";

struct Flags {
  std::string db;
  std::string listen = "127.0.0.1:9201";
  std::string port_file;
  std::string log_level = "info";
  std::string archive;
  std::string retention;
  std::string web_config;
  int workers = 0;
  std::uint64_t in_flight_bytes = 256ULL << 20;
  std::chrono::milliseconds shutdown_timeout{10'000};
  Options store;
  server::HttpServerOptions http;
  server::RemoteWriteHandlerOptions remote_write;
  std::chrono::milliseconds query_timeout{120'000};
  server::AdminOptions admin;
  std::string otlp_http_listen;  // "": kOtlpHttp, or any free port where `listen` asks for one; kOff
  std::string otlp_grpc_listen;
  server::HttpServerOptions otlp_http;
  server::OtlpGrpcOptions otlp_grpc;
  server::OtlpOptions otlp;
};

// Adds all options, with their defaults shown.
void AddFlags(CLI::App* app, Flags* flags);
// --completion and --man, of all that `app` has when they are parsed: leave what is to be printed in `text`, and end parsing with
// CLI::Success.
void AddDescriptions(CLI::App* app, std::string* text);
// After parsing: what is made of several flags. kInvalidArgument names the flag.
Status Complete(Flags* flags);

}  // namespace chronolith::daemon

#endif  // CHRONOLITH_TOOLS_CHRONOLITHD_FLAGS_H_

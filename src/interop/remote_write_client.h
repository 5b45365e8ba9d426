// Sends remote write requests over HTTP(S): compression, headers of both versions, authentication, and the specification's rules of
// what is sent again.
#ifndef CHRONOLITH_INTEROP_REMOTE_WRITE_CLIENT_H_
#define CHRONOLITH_INTEROP_REMOTE_WRITE_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "interop/remote_write_message.h"

namespace chronolith::interop {

struct RemoteWriteOptions {
  std::string url;  // http(s)://host[:port]/path, usually with the path /api/v1/write
  RemoteWriteVersion version = RemoteWriteVersion::k1;
  // HTTP basic authentication where `user` is not empty; else a bearer token where there is one.
  std::string user;
  std::string password;
  std::string bearer_token;
  std::string ca_file;               // PEM file of certificate authorities, in place of the system's
  std::vector<std::string> headers;  // sent besides: "X-Scope-OrgID: team-1"
  std::string user_agent = "chronolith";
  std::int64_t connect_timeout_ms = 10'000;
  std::int64_t request_timeout_ms = 60'000;  // of one attempt
  // Between attempts: doubled from the first to the second, a random half of it left out.
  std::int64_t backoff_min_ms = 30;
  std::int64_t backoff_max_ms = 5'000;
  // A request that has not got through by then fails, at once where the receiver asks for a pause that reaches beyond. 0: never.
  std::int64_t give_up_after_ms = 600'000;
};

// What a test puts in place of the world, and what a program wants to hear. Empty: steady clock, sleep, random numbers, silence.
struct RemoteWriteHooks {
  std::function<std::int64_t()> now_ms;
  // Returns early where `cancel` (may be null) becomes true.
  std::function<void(std::int64_t ms, const std::atomic<bool>* cancel)> sleep;
  std::function<double()> random;  // [0, 1)
  std::function<void(const std::string& why, std::int64_t wait_ms)> on_retry;
};

// What the receiver said last to one request.
struct RemoteWriteAnswer {
  int http_status = 0;                       // 0: nothing
  std::string text;                          // the first KiB of the body
  std::optional<RemoteWriteCounts> written;  // the headers X-Prometheus-Remote-Write-*-Written, where there is one
  int attempts = 0;
  std::uint64_t bytes = 0;  // of the compressed request, all attempts together
  // An attempt before the last one ended without an answer, or with 5xx: it may have been written all the same.
  bool maybe_written_before = false;

  // The receiver read the request and refused content of it, or its size: a part of it may be taken.
  bool content_refused() const { return http_status == 400 || http_status == 413 || http_status == 422; }
};

// One connection, one request at a time. Thread safety: one thread.
class RemoteWriteClient {
 public:
  // kInvalidArgument: the URL, or an option, is of no use. Connects to nobody yet. `cancel`, where not null, outlives the client.
  static Result<std::unique_ptr<RemoteWriteClient>> Create(RemoteWriteOptions options, RemoteWriteHooks hooks = {},
                                                           const std::atomic<bool>* cancel = nullptr);
  ~RemoteWriteClient();
  RemoteWriteClient(const RemoteWriteClient&) = delete;
  RemoteWriteClient& operator=(const RemoteWriteClient&) = delete;

  // Compresses and posts an encoded message of the version of the options. Network errors, 5xx and 429 are tried again, with
  // exponential backoff, no earlier than Retry-After says; any other answer ends it. A certificate that does not fit is not tried
  // again.
  //   ok                    2xx; with 2.0 `written` says how much of it the receiver has taken: compare
  //   kInvalidArgument      the receiver refused content: answer->content_refused()
  //   kPermissionDenied     401, 403, or a certificate that is not trusted
  //   kNotFound             404: most likely a wrong path
  //   kUnimplemented        2xx of 2.0 without a -Written header: the receiver does not know 2.0 and has written nothing
  //   kFailedPrecondition   another 3xx or 4xx
  //   kUnavailable          options.give_up_after_ms passed; the last failure is named
  //   kCancelled            `cancel` became true; the request may have been written
  Status Send(std::string_view message, RemoteWriteAnswer* answer);

  const RemoteWriteOptions& options() const;
  const std::string& shown_url() const;  // without user and password

 private:
  class Impl;
  explicit RemoteWriteClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_REMOTE_WRITE_CLIENT_H_

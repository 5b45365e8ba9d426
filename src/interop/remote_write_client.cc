#include "interop/remote_write_client.h"

#include <curl/curl.h>
#include <snappy.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <mutex>
#include <random>
#include <thread>

namespace chronolith::interop {
namespace {

constexpr std::size_t kTextBytesMax = 1024;
constexpr std::int64_t kSleepSliceMs = 50;  // how late a cancel may be noticed in a pause

std::int64_t SteadyNowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool CancelAsked(const std::atomic<bool>* cancel) { return cancel != nullptr && cancel->load(std::memory_order_relaxed); }

void SleepInSlices(std::int64_t ms, const std::atomic<bool>* cancel) {
  const std::int64_t end = SteadyNowMs() + ms;
  for (std::int64_t left = ms; left > 0 && !CancelAsked(cancel); left = end - SteadyNowMs()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min(left, kSleepSliceMs)));
  }
}

void FillHooks(RemoteWriteHooks* hooks) {
  if (!hooks->now_ms) hooks->now_ms = SteadyNowMs;
  if (!hooks->sleep) hooks->sleep = SleepInSlices;
  if (!hooks->random) {
    hooks->random = [engine = std::minstd_rand(std::random_device{}())]() mutable {
      return std::uniform_real_distribution<double>(0, 1)(engine);
    };
  }
  if (!hooks->on_retry) hooks->on_retry = [](const std::string&, std::int64_t) {};
}

// "name: value" with the name in any case: the value where the name is `name`, which is in small letters.
std::optional<std::string_view> HeaderValue(std::string_view line, std::string_view name) {
  if (line.size() <= name.size() || line[name.size()] != ':') return std::nullopt;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(line[i])) != name[i]) return std::nullopt;
  }
  line.remove_prefix(name.size() + 1);
  while (!line.empty() && std::isspace(static_cast<unsigned char>(line.front()))) line.remove_prefix(1);
  while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.remove_suffix(1);
  return line;
}

std::size_t OnBody(char* data, std::size_t, std::size_t n, void* to) {
  std::string& text = static_cast<RemoteWriteAnswer*>(to)->text;
  text.append(data, std::min(n, kTextBytesMax - std::min(kTextBytesMax, text.size())));
  return n;
}

std::size_t OnHeader(char* data, std::size_t, std::size_t n, void* to) {
  auto* const answer = static_cast<RemoteWriteAnswer*>(to);
  const std::string_view line(data, n);
  const auto read = [&](std::string_view name, std::uint64_t RemoteWriteCounts::*count) {
    const auto value = HeaderValue(line, name);
    std::uint64_t number = 0;
    if (!value || std::from_chars(value->data(), value->data() + value->size(), number).ptr != value->data() + value->size())
      return;
    if (!answer->written) answer->written.emplace();
    (*answer->written).*count = number;
  };
  read("x-prometheus-remote-write-samples-written", &RemoteWriteCounts::samples);
  read("x-prometheus-remote-write-histograms-written", &RemoteWriteCounts::histograms);
  read("x-prometheus-remote-write-exemplars-written", &RemoteWriteCounts::exemplars);
  return n;
}

int OnProgress(void* cancel, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return CancelAsked(static_cast<const std::atomic<bool>*>(cancel)) ? 1 : 0;
}

// One line, for messages: what the receiver wrote.
std::string OneLine(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

Status StatusOf(const RemoteWriteAnswer& answer, const std::string& url) {
  std::string message = url + " answers " + std::to_string(answer.http_status);
  if (!answer.text.empty()) message += ": " + OneLine(answer.text);
  if (answer.content_refused()) return InvalidArgument(std::move(message));
  switch (answer.http_status) {
    case 401:
    case 403:
      return PermissionDenied(std::move(message));
    case 404:
      return NotFound(std::move(message));
    default:
      return FailedPrecondition(std::move(message));
  }
}

// Without the user and the password that may stand in it.
std::string ShownUrl(const std::string& url) {
  const std::size_t host = url.find("://") + 3;
  const std::size_t at = url.substr(0, url.find_first_of("/?#", host)).rfind('@');
  return at == std::string::npos || at < host ? url : url.substr(0, host) + url.substr(at + 1);
}

bool TriedAgain(int http_status) { return http_status == 429 || http_status >= 500; }

// A pause, or another server behind the name, changes nothing about these.
bool TriedAgain(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_OUT_OF_MEMORY:
      return false;
    default:
      return true;
  }
}

}  // namespace

class RemoteWriteClient::Impl {
 public:
  Impl(RemoteWriteOptions options, RemoteWriteHooks hooks, const std::atomic<bool>* cancel)
      : options_(std::move(options)), hooks_(std::move(hooks)), cancel_(cancel) {
    FillHooks(&hooks_);
  }
  ~Impl() {
    curl_slist_free_all(headers_);
    if (curl_ != nullptr) curl_easy_cleanup(curl_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status SetUp();
  Status Send(std::string_view message, RemoteWriteAnswer* answer);
  const RemoteWriteOptions& options() const { return options_; }
  const std::string& shown_url() const { return shown_url_; }

 private:
  void AddHeader(const std::string& line) { headers_ = curl_slist_append(headers_, line.c_str()); }
  void Compress(std::string_view message);
  CURLcode Attempt(RemoteWriteAnswer* answer);
  std::int64_t Backoff(int attempts);

  RemoteWriteOptions options_;
  RemoteWriteHooks hooks_;
  const std::atomic<bool>* cancel_;
  std::string shown_url_;
  CURL* curl_ = nullptr;
  curl_slist* headers_ = nullptr;
  char error_[CURL_ERROR_SIZE] = {};
  std::unique_ptr<char[]> compressed_;  // kept for the next request, and not filled before
  std::size_t compressed_capacity_ = 0;
  std::size_t compressed_bytes_ = 0;
};

Status RemoteWriteClient::Impl::SetUp() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  if (!options_.url.starts_with("http://") && !options_.url.starts_with("https://")) {
    return InvalidArgument("\"" + options_.url + "\" is no http:// or https:// URL");
  }
  shown_url_ = ShownUrl(options_.url);
  for (const std::string& header : options_.headers) {
    if (header.find(':') == std::string::npos || header.find_first_of("\r\n") != std::string::npos) {
      return InvalidArgument("\"" + header + "\" is no header: Name: value");
    }
  }
  if (options_.bearer_token.find_first_of("\r\n") != std::string::npos)
    return InvalidArgument("the bearer token has several lines");
  curl_ = curl_easy_init();
  if (curl_ == nullptr) return ResourceExhausted("no memory for a connection");

  AddHeader("Content-Encoding: snappy");
  if (options_.version == RemoteWriteVersion::k1) {
    AddHeader("Content-Type: application/x-protobuf");
    AddHeader("X-Prometheus-Remote-Write-Version: 0.1.0");
  } else {
    AddHeader("Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request");
    AddHeader("X-Prometheus-Remote-Write-Version: 2.0.0");
  }
  AddHeader("Expect:");  // no "100-continue": it would cost a round trip
  if (!options_.user.empty()) {
    curl_easy_setopt(curl_, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    curl_easy_setopt(curl_, CURLOPT_USERNAME, options_.user.c_str());
    curl_easy_setopt(curl_, CURLOPT_PASSWORD, options_.password.c_str());
  } else if (!options_.bearer_token.empty()) {
    AddHeader("Authorization: Bearer " + options_.bearer_token);
  }
  for (const std::string& header : options_.headers) AddHeader(header);

  const CURLcode url = curl_easy_setopt(curl_, CURLOPT_URL, options_.url.c_str());
  if (url != CURLE_OK) return InvalidArgument(shown_url_ + ": " + curl_easy_strerror(url));
  curl_easy_setopt(curl_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl_, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(curl_, CURLOPT_POST, 1L);
  curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, headers_);
  curl_easy_setopt(curl_, CURLOPT_USERAGENT, options_.user_agent.c_str());
  curl_easy_setopt(curl_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl_, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout_ms));
  curl_easy_setopt(curl_, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.request_timeout_ms));
  if (!options_.ca_file.empty()) curl_easy_setopt(curl_, CURLOPT_CAINFO, options_.ca_file.c_str());
  curl_easy_setopt(curl_, CURLOPT_ERRORBUFFER, error_);
  curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl_, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl_, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl_, CURLOPT_XFERINFODATA, const_cast<std::atomic<bool>*>(cancel_));
  curl_easy_setopt(curl_, CURLOPT_NOPROGRESS, 0L);
  return Status::Ok();
}

void RemoteWriteClient::Impl::Compress(std::string_view message) {
  const std::size_t bytes_max = snappy::MaxCompressedLength(message.size());
  if (bytes_max > compressed_capacity_) {
    compressed_ = std::make_unique_for_overwrite<char[]>(bytes_max);
    compressed_capacity_ = bytes_max;
  }
  snappy::RawCompress(message.data(), message.size(), compressed_.get(), &compressed_bytes_);
}

CURLcode RemoteWriteClient::Impl::Attempt(RemoteWriteAnswer* answer) {
  ++answer->attempts;
  answer->http_status = 0;
  answer->text.clear();
  answer->written.reset();
  answer->bytes += compressed_bytes_;
  error_[0] = '\0';
  curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, compressed_.get());
  curl_easy_setopt(curl_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(compressed_bytes_));
  curl_easy_setopt(curl_, CURLOPT_WRITEDATA, answer);
  curl_easy_setopt(curl_, CURLOPT_HEADERDATA, answer);
  const CURLcode code = curl_easy_perform(curl_);
  long status = 0;
  if (code == CURLE_OK) curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
  answer->http_status = static_cast<int>(status);
  return code;
}

std::int64_t RemoteWriteClient::Impl::Backoff(int attempts) {
  const std::int64_t doubled = options_.backoff_min_ms << std::min(attempts - 1, 20);
  const std::int64_t whole = std::min(options_.backoff_max_ms, doubled);
  return whole - static_cast<std::int64_t>(hooks_.random() * static_cast<double>(whole) / 2);
}

Status RemoteWriteClient::Impl::Send(std::string_view message, RemoteWriteAnswer* answer) {
  *answer = {};
  Compress(message);
  const std::int64_t start = hooks_.now_ms();
  while (true) {
    if (CancelAsked(cancel_)) return Cancelled("cancelled while sending to " + shown_url_);
    const CURLcode code = Attempt(answer);
    std::string why;
    if (code != CURLE_OK) {
      if (code == CURLE_ABORTED_BY_CALLBACK) continue;
      why = shown_url_ + ": " + (error_[0] != '\0' ? error_ : curl_easy_strerror(code));
      if (!TriedAgain(code)) {
        const bool trust = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
        return trust ? PermissionDenied(std::move(why)) : FailedPrecondition(std::move(why));
      }
    } else if (TriedAgain(answer->http_status)) {
      why = shown_url_ + " answers " + std::to_string(answer->http_status);
      if (!answer->text.empty()) why += ": " + OneLine(answer->text);
    } else if (answer->http_status / 100 != 2) {
      return StatusOf(*answer, shown_url_);
    } else if (options_.version == RemoteWriteVersion::k2 && !answer->written) {
      return Unimplemented(shown_url_ + " answers " + std::to_string(answer->http_status) +
                           " without saying what it has written: it does not know remote write 2.0; use 1.0");
    } else {
      return Status::Ok();
    }
    answer->maybe_written_before |= answer->http_status != 429;

    std::int64_t wait = Backoff(answer->attempts);
    curl_off_t retry_after = 0;
    if (code == CURLE_OK && curl_easy_getinfo(curl_, CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK) {
      wait = std::max<std::int64_t>(wait, std::min<curl_off_t>(retry_after, 1'000'000'000) * 1000);
    }
    const std::int64_t gone = hooks_.now_ms() - start;
    if (options_.give_up_after_ms > 0 && gone + wait > options_.give_up_after_ms) {
      return Unavailable(why + " (given up after " + std::to_string(answer->attempts) + " attempts, " +
                         std::to_string(gone / 1000) + " s; the next may be made in " + std::to_string(wait) + " ms)");
    }
    hooks_.on_retry(why, wait);
    hooks_.sleep(wait, cancel_);
  }
}

RemoteWriteClient::RemoteWriteClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RemoteWriteClient::~RemoteWriteClient() = default;

Result<std::unique_ptr<RemoteWriteClient>> RemoteWriteClient::Create(RemoteWriteOptions options, RemoteWriteHooks hooks,
                                                                     const std::atomic<bool>* cancel) {
  auto impl = std::make_unique<Impl>(std::move(options), std::move(hooks), cancel);
  if (Status s = impl->SetUp(); !s.ok()) return s;
  return std::unique_ptr<RemoteWriteClient>(new RemoteWriteClient(std::move(impl)));
}

Status RemoteWriteClient::Send(std::string_view message, RemoteWriteAnswer* answer) { return impl_->Send(message, answer); }
const RemoteWriteOptions& RemoteWriteClient::options() const { return impl_->options(); }
const std::string& RemoteWriteClient::shown_url() const { return impl_->shown_url(); }

}  // namespace chronolith::interop

#include "server/http_session.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <cstdio>
#include <limits>
#include <type_traits>
#include <utility>

namespace chronolith::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kIdleBufferBytes = 1024;
constexpr std::size_t kStreamPieceBytes = 64 << 10;
// What is read and thrown away after an early refusal, so that the client gets to read it: closing at once would reset the
// connection.
constexpr std::size_t kLingerBytes = 4 << 20;
constexpr std::chrono::seconds kLingerTime{2};

template <typename Stream>
class HttpSession : public HttpSessionBase {
 public:
  // `context`: of TLS, null without.
  template <typename... Args>
  HttpSession(HttpSessionHost* host, std::shared_ptr<asio::ssl::context> context, Args&&... args)
      : HttpSessionBase(host), context_(std::move(context)), stream_(std::forward<Args>(args)...) {}

  void Begin() override {
    Enter();
    ErrorCode ignored;
    Lowest().socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    const auto peer = Lowest().socket().remote_endpoint(ignored);
    peer_ = peer.address().to_string(ignored) + ":" + std::to_string(peer.port());
    asio::dispatch(stream_.get_executor(), [self = Self()] {
      if constexpr (kTls) {
        self->Lowest().expires_after(self->host_->options.header_timeout);
        self->stream_.async_handshake(asio::ssl::stream_base::server, [self](ErrorCode error) {
          if (error) return self->Close();
          self->Wait();
        });
      } else {
        self->Wait();
      }
    });
  }

  void Stop(bool now) override {
    asio::post(stream_.get_executor(), [self = Self(), now] {
      if (now || self->idle_) self->Close();
    });
  }

 private:
  static constexpr bool kTls = !std::is_same_v<Stream, beast::tcp_stream>;
  using Ptr = std::shared_ptr<HttpSession>;
  Ptr Self() { return std::static_pointer_cast<HttpSession>(shared_from_this()); }
  beast::tcp_stream& Lowest() { return beast::get_lowest_layer(stream_); }
  void Close() { Lowest().close(); }

  // ---- Reading ----

  void Wait() {
    buffer_.shrink_to_fit();
    if (buffer_.size() > 0) return ReadHeader();  // of a request that came right behind the last one
    if (host_->stopping.load(std::memory_order_relaxed)) return Close();
    idle_ = true;
    Lowest().expires_after(host_->options.idle_timeout);
    stream_.async_read_some(buffer_.prepare(kIdleBufferBytes), [self = Self()](ErrorCode error, std::size_t n) {
      self->idle_ = false;
      if (error) return self->Close();
      self->buffer_.commit(n);
      self->ReadHeader();
    });
  }

  void ReadHeader() {
    header_.emplace();
    header_->header_limit(host_->options.header_bytes_max);
    header_->body_limit(std::numeric_limits<std::uint64_t>::max());  // the route's, once it is known
    Lowest().expires_after(host_->options.header_timeout);
    http::async_read_header(stream_, buffer_, *header_, [self = Self()](ErrorCode error, std::size_t) { self->OnHeader(error); });
  }

  void OnHeader(ErrorCode error) {
    if (error == http::error::end_of_stream || error == http::error::partial_message || error == beast::error::timeout) {
      return Close();
    }
    if (error && error.category() != http::make_error_code(http::error::bad_version).category()) return Close();
    if (error) {
      keep_alive_ = false;
      const bool too_long = error == http::error::header_limit || error == http::error::buffer_overflow;
      return Refuse(too_long ? HttpResponse::Text(
                                   431, "the header is longer than " + std::to_string(host_->options.header_bytes_max) + " bytes")
                             : HttpResponse::Text(400, "malformed request: " + error.message()));
    }
    if (std::optional<HttpResponse> refusal = Admit(*header_)) return Refuse(std::move(*refusal));
    request_.peer = peer_;
    Authorize();
  }

  // ---- Who asks ----

  void Authorize() {
    std::shared_ptr<const WebSecurity> security = host_->parts.security != nullptr ? host_->parts.security->Get() : nullptr;
    if (security == nullptr || security->users == nullptr || route_->open_to_all) return BeginBody();
    Authenticator::Answer answer = security->users->Look(request_.Header("Authorization"));
    if (answer.kind != Authenticator::Answer::Kind::kAskBcrypt) return OnAuthorized(std::move(answer));
    Lowest().expires_never();
    auto work = [self = Self(), security = std::move(security)] {
      Authenticator::Answer found = security->users->Check(self->request_.Header("Authorization"));
      asio::post(self->stream_.get_executor(),
                 [self, found = std::move(found)]() mutable { self->OnAuthorized(std::move(found)); });
    };
    if (!host_->parts.workers->TrySubmit(std::move(work))) {
      CloseUnlessBodyless();
      Overloaded("all workers are busy");
    }
  }

  void OnAuthorized(Authenticator::Answer answer) {
    if (answer.kind == Authenticator::Answer::Kind::kUser) {
      request_.user = std::move(answer.user);
      return BeginBody();
    }
    CloseUnlessBodyless();
    if (answer.kind == Authenticator::Answer::Kind::kBusy) return Overloaded("other passwords are being checked");
    HttpResponse response = HttpResponse::Text(401, "a user name and password, or a token, is needed here");
    response.SetHeader("WWW-Authenticate", "Basic realm=\"chronolith\", charset=\"UTF-8\"");
    Refuse(std::move(response));
  }

  // For an answer that leaves the body unread.
  void CloseUnlessBodyless() {
    if (!header_->is_done()) keep_alive_ = false;
  }

  void BeginBody() {
    const std::uint64_t of_all = host_->options.body_bytes_max;
    body_.emplace(std::move(*header_));
    header_.reset();
    body_->body_limit(of_all > 0 ? std::min(of_all, route_->body_bytes_max) : route_->body_bytes_max);
    body_->eager(true);
    if (body_->is_done()) return Dispatch();
    Lowest().expires_after(host_->options.body_timeout);
    if (!expects_continue_) return ReadBody();
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(stream_, asio::buffer(kContinue.data(), kContinue.size()), [self = Self()](ErrorCode failed, std::size_t) {
      if (failed) return self->Close();
      self->ReadBody();
    });
  }

  // One deadline for all of it: expires_after is not called again.
  void ReadBody() {
    http::async_read_some(stream_, buffer_, *body_, [self = Self()](ErrorCode error, std::size_t) { self->OnBody(error); });
  }

  void OnBody(ErrorCode error) {
    if (error == http::error::body_limit) {
      keep_alive_ = false;
      return Refuse(HttpResponse::Text(413, "the body is larger than this path takes"));
    }
    if (error && error.category() == http::make_error_code(http::error::bad_version).category() &&
        error != http::error::partial_message && error != http::error::end_of_stream) {
      keep_alive_ = false;
      return Refuse(HttpResponse::Text(400, "malformed request: " + error.message()));
    }
    if (error) return Close();
    if (!reserved_.GrowTo(body_->get().body().size())) {
      keep_alive_ = body_->is_done() && keep_alive_;
      return Overloaded("the bodies of other requests have taken the memory that there is for them");
    }
    if (!body_->is_done()) return ReadBody();
    Dispatch();
  }

  // ---- Answering ----

  void Dispatch() {
    request_.body = std::move(body_->get().body());
    body_.reset();
    Lowest().expires_never();
    auto work = [self = Self()] { self->Run(); };
    if (!host_->parts.workers->TrySubmit(std::move(work))) Overloaded("all workers are busy");
  }

  void Overloaded(std::string_view why) {
    host_->parts.metrics->overloaded.Add();
    Refuse(HttpResponse::TryLater(429, why));
  }

  // On a worker.
  void Run() {
    request_bytes_ = request_.body.size();
    response_ = Handle();
    if (response_.stream != nullptr && request_.method != "HEAD") return RunStream();
    asio::post(stream_.get_executor(), [self = Self()] { self->Answer(); });
  }

  void Refuse(HttpResponse response) {
    request_bytes_ = body_ ? body_->get().body().size() : 0;
    header_.reset();
    body_.reset();
    response_ = std::move(response);
    host_->router.Shape(request_, &response_);
    Answer();
  }

  void Answer() {
    Free(&request_.body);  // before the answer is counted: a slow reader holds only that
    reserved_.ShrinkTo(0);
    reserved_.ForceGrowBy(response_.body.size());
    if (host_->stopping.load(std::memory_order_relaxed)) keep_alive_ = false;
    const bool streamed = response_.stream != nullptr;
    head_ = HeadOf(response_, streamed ? std::nullopt : std::optional<std::uint64_t>(response_.body.size()), streamed && http11_);
    const bool without_body = request_.method == "HEAD" || response_.status == 204 || response_.status == 304;
    if (without_body) response_.body.clear();
    Lowest().expires_after(host_->options.write_timeout);
    const std::array<asio::const_buffer, 2> buffers = {asio::buffer(head_), asio::buffer(response_.body)};
    asio::async_write(stream_, buffers, [self = Self()](ErrorCode error, std::size_t) {
      self->Observe(self->response_.body.size());
      self->OnAnswered(error);
    });
  }

  void Observe(std::uint64_t response_bytes) {
    host_->MetricsOf(route_)->Observe(response_.status, started_nanos_ == 0 ? 0 : NowNanos() - started_nanos_, request_bytes_,
                                      response_bytes);
  }

  void OnAnswered(ErrorCode error) {
    const bool keep = keep_alive_ && !error;
    Forget();
    Free(&head_);
    if (error) return Close();
    if (keep) return Wait();
    if constexpr (kTls) {
      Lowest().expires_after(kLingerTime);
      stream_.async_shutdown([self = Self()](ErrorCode) { self->Close(); });
      return;
    }
    Lowest().socket().shutdown(asio::ip::tcp::socket::shutdown_send, error);
    buffer_.clear();
    Lowest().expires_after(kLingerTime);
    Linger(0);
  }

  void Linger(std::size_t read) {
    if (read > kLingerBytes) return Close();
    buffer_.clear();
    Lowest().async_read_some(buffer_.prepare(kStreamPieceBytes), [self = Self(), read](ErrorCode error, std::size_t n) {
      if (error) return self->Close();
      self->Linger(read + n);
    });
  }

  // ---- Streaming: the handler's thread fills one piece while the connection sends the one before ----

  class Writer : public BodyWriter {
   public:
    explicit Writer(Ptr session) : session_(std::move(session)) {}
    Status Write(std::string_view piece) override {
      written_ += piece.size();
      pending_.append(piece);
      return pending_.size() < kStreamPieceBytes ? status_ : Send(false);
    }
    // Sends what is pending; `last`: and the end of the body, which it waits for.
    Status Send(bool last) {
      if (status_.ok() && (last || !pending_.empty())) status_ = session_->SendPiece(std::exchange(pending_, {}), !sent_, last);
      sent_ = true;
      if (status_.ok() && last) status_ = session_->AwaitSent();
      return status_;
    }
    bool sent() const { return sent_; }
    std::uint64_t written() const { return written_; }

   private:
    const Ptr session_;
    std::string pending_;
    Status status_;
    bool sent_ = false;
    std::uint64_t written_ = 0;
  };

  void RunStream() {
    Writer writer(Self());
    Status status;
    try {
      status = response_.stream(writer);
      if (status.ok()) status = writer.Send(true);
    } catch (const std::exception& e) {
      status = UnknownOutcome(e.what());
    }
    if (!status.ok()) host_->Log(LogLevel::kWarning, "a streamed answer to " + request_.path + " was cut off: " + status.message());
    if (!status.ok() && !writer.sent()) {
      response_ = HttpResponse::Text(500, status.message());
      return asio::post(stream_.get_executor(), [self = Self()] { self->Answer(); });
    }
    const bool whole = status.ok();
    asio::post(stream_.get_executor(), [self = Self(), whole, bytes = writer.written()] {
      self->Observe(bytes);
      if (whole) {
        Free(&self->out_);
        return self->OnAnswered({});
      }
      self->Forget();  // but not out_, which may be under way
      self->Close();
    });
  }

  // On the handler's thread: waits until the piece before was sent, then hands over this one.
  Status SendPiece(std::string piece, bool first, bool last) {
    if (Status status = AwaitSent(); !status.ok()) return status;
    std::string out;
    if (first) {
      // Where the client does not know chunks the end of the connection is the end of the body.
      if (!http11_ || host_->stopping.load(std::memory_order_relaxed)) keep_alive_ = false;
      out = HeadOf(response_, std::nullopt, http11_);
    }
    if (http11_ && !piece.empty()) {
      char size[20];
      out.append(size, static_cast<std::size_t>(std::snprintf(size, sizeof(size), "%zx\r\n", piece.size())));
      out.append(piece).append("\r\n");
    } else {
      out.append(piece);
    }
    if (http11_ && last) out.append("0\r\n\r\n");
    {
      MutexLock lock(&stream_mu_);
      sending_ = true;
    }
    asio::post(stream_.get_executor(), [self = Self(), out = std::move(out)]() mutable {
      self->out_ = std::move(out);
      self->reserved_.ShrinkTo(0);
      self->reserved_.ForceGrowBy(2 * self->out_.size());
      self->Lowest().expires_after(self->host_->options.write_timeout);
      asio::async_write(self->stream_, asio::buffer(self->out_), [self](ErrorCode error, std::size_t) { self->OnSent(error); });
    });
    return Status::Ok();
  }

  void OnSent(ErrorCode error) {
    MutexLock lock(&stream_mu_);
    sending_ = false;
    if (error == beast::error::timeout) {
      stream_status_ = DeadlineExceeded("the client took nothing for the write timeout");
    } else if (error) {
      stream_status_ = Cancelled("the client has gone: " + error.message());
    }
    stream_sent_.SignalAll();
  }

  // Ends, since each write has a timeout.
  Status AwaitSent() {
    MutexLock lock(&stream_mu_);
    while (sending_) stream_sent_.Wait(&stream_mu_);
    return stream_status_;
  }

  const std::shared_ptr<asio::ssl::context> context_;
  Stream stream_;
  std::string peer_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::empty_body>> header_;
  std::optional<http::request_parser<http::string_body>> body_;
  std::string head_;
  std::string out_;
  std::uint64_t request_bytes_ = 0;
  bool idle_ = false;

  Mutex stream_mu_;
  CondVar stream_sent_;
  bool sending_ ABSL_GUARDED_BY(stream_mu_) = false;
  Status stream_status_ ABSL_GUARDED_BY(stream_mu_);
};

}  // namespace

std::shared_ptr<HttpSessionBase> NewPlainSession(HttpSessionHost* host, asio::ip::tcp::socket socket) {
  return std::make_shared<HttpSession<beast::tcp_stream>>(host, nullptr, std::move(socket));
}

std::shared_ptr<HttpSessionBase> NewTlsSession(HttpSessionHost* host, asio::ip::tcp::socket socket,
                                               std::shared_ptr<asio::ssl::context> context) {
  asio::ssl::context& used = *context;
  return std::make_shared<HttpSession<beast::ssl_stream<beast::tcp_stream>>>(host, std::move(context), std::move(socket), used);
}

}  // namespace chronolith::server

#include "server/http_session.h"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <functional>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace chronolith::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kIdleBufferBytes = 1024;
constexpr std::size_t kInlineBodyBytes = 64 << 10;  // whose handler takes a millisecond, as a rule
// Of a body that has not come yet, as much is made room for as of it has, or this.
constexpr std::uint64_t kBodyStepBytes = 4 << 10;
// What is read and thrown away after an early refusal, so that the client gets to read it: closing at once would reset the
// connection.
constexpr std::size_t kLingerBytes = 4 << 20;
constexpr std::size_t kLingerReadBytes = 4 << 10;  // little, as nothing counts it and all that are refused at once have it
constexpr std::chrono::seconds kLingerTime{2};
constexpr std::chrono::minutes kBackstop{1};  // behind a read's own timeout: who is late is told, however busy the machine is
constexpr std::string_view kBodiesTookAll = "the bodies of other requests have taken the memory that there is for them";

template <typename Stream>
class HttpSession : public HttpSessionBase {
 public:
  // `context`: of TLS, null without.
  template <typename... Args>
  HttpSession(HttpSessionHost* host, std::shared_ptr<asio::ssl::context> context, Args&&... args)
      : HttpSessionBase(host),
        context_(std::move(context)),
        stream_(std::forward<Args>(args)...),
        read_timer_(stream_.get_executor()) {
    executor_ = stream_.get_executor();
  }

  void Begin() override {
    Enter();
    ErrorCode ignored;
    Lowest().socket().set_option(asio::ip::tcp::no_delay(true), ignored);
    Lowest().socket().non_blocking(true, ignored);
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
  void Unlimited() override { Lowest().expires_never(); }
  Ptr Self() { return std::static_pointer_cast<HttpSession>(shared_from_this()); }
  beast::tcp_stream& Lowest() { return beast::get_lowest_layer(stream_); }
  void Close() override {
    DoneReading();
    Lowest().close();
  }

  // ---- Reading ----

  void Wait() {
    buffer_.shrink_to_fit();
    // Of a request that came right behind the last one. Not from here: many of them must not fill the stack.
    if (buffer_.size() > 0) return asio::post(stream_.get_executor(), [self = Self()] { self->ReadHeader(); });
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
    ErrorCode error = http::error::need_more;
    if (buffer_.size() > 0) buffer_.consume(header_->put(buffer_.data(), error));
    if (error != http::error::need_more) return OnHeader(error);  // as a rule it comes whole
    ReadWithin(host_->options.header_timeout);
    http::async_read_header(stream_, buffer_, *header_, [self = Self()](ErrorCode error, std::size_t) { self->OnHeader(error); });
  }

  // The stream's own timeout closes the socket, and nobody is told why. This one ends the reading only; the stream's comes behind
  // it, where a read ended by itself at that moment and another began.
  void ReadWithin(std::chrono::milliseconds timeout) {
    reading_ = true;
    late_ = false;
    Lowest().expires_after(timeout + kBackstop);
    read_timer_.expires_after(timeout);
    read_timer_.async_wait([self = Self(), read = ++reads_](ErrorCode cancelled) {
      if (cancelled || read != self->reads_) return;
      self->late_ = true;
      self->Lowest().cancel();
    });
  }

  void DoneReading() {
    if (!reading_) return;
    reading_ = false;
    ++reads_;
    read_timer_.cancel();
  }

  void TooLate() {
    keep_alive_ = false;
    Refuse(HttpResponse::Text(408, "the request did not come within the time that there is for it"));
  }

  void OnHeader(ErrorCode error) {
    DoneReading();
    if (error == asio::error::operation_aborted && late_) return TooLate();
    if (error == http::error::end_of_stream) return Close();
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

  void BeginBody() override {
    if (header_->is_done()) return Dispatch();
    chunked_ = header_->chunked();
    if (chunked_) {
      const std::uint64_t of_all = host_->options.body_bytes_max;
      body_.emplace(std::move(*header_));
      body_->body_limit(of_all > 0 ? std::min(of_all, route_->body_bytes_max) : route_->body_bytes_max);
      body_->eager(true);
    } else {
      body_bytes_ = *header_->content_length();  // within the limit, or it was not admitted
      body_read_ = 0;
    }
    header_.reset();
    if (chunked_ || expects_continue_) ReadWithin(host_->options.body_timeout);  // one deadline for all of it
    if (!expects_continue_) return ReadBody();
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(stream_, asio::buffer(kContinue.data(), kContinue.size()), [self = Self()](ErrorCode failed, std::size_t) {
      if (failed) return self->Close();
      self->ReadBody();
    });
  }

  void ReadBody() {
    if (!chunked_) return ReadKnownBody();
    if (late_) return TooLate();
    http::async_read_some(stream_, buffer_, *body_, [self = Self()](ErrorCode error, std::size_t) { self->OnBody(error); });
  }

  // A body whose length the header says goes where it stays, with as few reads as there can be.
  void ReadKnownBody() {
    std::string& body = request_.body;
    ErrorCode error;
    std::uint64_t here = body_read_ + buffer_.size();  // what came with the header is in buffer_
    if constexpr (!kTls) here += Lowest().socket().available(error);
    const std::uint64_t room = std::min(body_bytes_, std::max(here, body_read_ + std::max(kBodyStepBytes, body_read_)));
    if (!reserved_.GrowTo(room)) {
      const bool whole = body_read_ + buffer_.size() >= body_bytes_;
      if (whole) buffer_.consume(body_bytes_ - body_read_);
      keep_alive_ = keep_alive_ && whole;
      return Overloaded(kBodiesTookAll);
    }
    body.resize(room);
    if (buffer_.size() > 0) {
      const std::size_t n = asio::buffer_copy(asio::buffer(body.data() + body_read_, room - body_read_), buffer_.data());
      buffer_.consume(n);
      body_read_ += n;
    }
    if constexpr (!kTls) {
      if (body_read_ < room) {
        body_read_ += Lowest().socket().read_some(asio::buffer(body.data() + body_read_, room - body_read_), error);
      }
      if (error && error != asio::error::would_block) return OnBodyError(error);
    }
    if (body_read_ == body_bytes_) return Dispatch();
    if (!reading_) ReadWithin(host_->options.body_timeout);
    if (late_) return TooLate();
    asio::async_read(stream_, asio::buffer(body.data() + body_read_, room - body_read_),
                     [self = Self()](ErrorCode error, std::size_t n) {
                       if (error) return self->OnBodyError(error);
                       self->body_read_ += n;
                       if (self->body_read_ == self->body_bytes_) return self->Dispatch();
                       self->ReadKnownBody();
                     });
  }

  void OnBodyError(ErrorCode error) {
    if (error == asio::error::operation_aborted && late_) return TooLate();
    if (error == asio::error::eof) error = http::error::partial_message;
    if (error.category() != http::make_error_code(http::error::bad_version).category()) return Close();
    keep_alive_ = false;
    if (error == http::error::body_limit) return Refuse(HttpResponse::Text(413, "the body is larger than this path takes"));
    Refuse(HttpResponse::Text(400, "malformed request: " + error.message()));
  }

  // Of a chunked body.
  void OnBody(ErrorCode error) {
    if (error) return OnBodyError(error);
    if (!reserved_.GrowTo(body_->get().body().size())) {
      keep_alive_ = body_->is_done() && keep_alive_;
      if (reserved_.hopeless()) return Refuse(HttpResponse::Text(413, BodyTakesTooMuch()));
      return Overloaded(kBodiesTookAll);
    }
    if (!body_->is_done()) return ReadBody();
    request_.body = std::move(body_->get().body());
    body_.reset();
    Dispatch();
  }

  // ---- Answering ----

  void Dispatch() {
    DoneReading();
    header_.reset();
    Unlimited();
    if (route_->thread == RouteThread::kConnection) return Run();
    auto work = [self = Self()] { self->Run(); };
    const bool taken =
        route_->thread == RouteThread::kEither && host_->inline_runner != nullptr && request_.body.size() <= kInlineBodyBytes
            ? host_->inline_runner->Run(std::move(work))
            : host_->ThreadsOf(route_)->TrySubmit(std::move(work));
    if (!taken) Overloaded("all workers are busy");
  }

  // On the thread of the route's handler.
  void Run() {
    request_bytes_ = request_.body.size();
    response_ = Handle();
    if (response_.stream != nullptr && request_.method != "HEAD") return RunStream();
    asio::dispatch(stream_.get_executor(), [self = Self()] { self->Answer(); });
  }

  void Refuse(HttpResponse response) override {
    DoneReading();
    request_bytes_ = body_ ? body_->get().body().size() : request_.body.size();
    header_.reset();
    body_.reset();
    response_ = std::move(response);
    host_->router.Shape(request_, &response_);
    Answer();
  }

  void Answer() override {
    Free(&request_.body);  // before the answer is counted: a slow reader holds only that
    reserved_.ShrinkTo(0);
    reserved_.ForceGrow(response_.body.size());
    if (host_->stopping.load(std::memory_order_relaxed)) keep_alive_ = false;
    const bool streamed = response_.stream != nullptr;
    head_ = HeadOf(response_, streamed ? std::nullopt : std::optional<std::uint64_t>(response_.body.size()), streamed && http11_);
    const bool without_body = request_.method == "HEAD" || response_.status == 204 || response_.status == 304;
    if (without_body) response_.body.clear();
    std::array<asio::const_buffer, 2> buffers = {asio::buffer(head_), asio::buffer(response_.body)};
    if constexpr (!kTls) {  // as a rule the socket takes it at once
      ErrorCode error;
      std::size_t sent = Lowest().socket().write_some(buffers, error);
      const bool whole = sent == asio::buffer_size(buffers);
      if (whole || (error && error != asio::error::would_block)) {
        Observe(response_.body.size());
        return OnAnswered(error);
      }
      for (asio::const_buffer& buffer : buffers) {
        const std::size_t n = std::min(sent, buffer.size());
        buffer += n;
        sent -= n;
      }
    }
    Lowest().expires_after(host_->options.write_timeout);
    // Of an array of two, Asio offers the first again when it was sent, empty, in front of the second; Beast's TLS stream writes of
    // that nothing, which ends the answer without its body. Of a vector it offers what is left.
    const std::vector<asio::const_buffer> left(buffers.begin(), buffers.end());
    asio::async_write(stream_, left, [self = Self()](ErrorCode error, std::size_t) {
      self->Observe(self->response_.body.size());
      self->OnAnswered(error);
    });
  }

  void OnAnswered(ErrorCode error) override {
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
    Lowest().async_read_some(buffer_.prepare(kLingerReadBytes), [self = Self(), read](ErrorCode error, std::size_t n) {
      if (error) return self->Close();
      self->Linger(read + n);
    });
  }

  // Of a streamed answer.
  void SendPiece(std::string out, std::function<void(ErrorCode)> sent) override {
    asio::post(stream_.get_executor(), [self = Self(), out = std::move(out), sent = std::move(sent)]() mutable {
      self->out_ = std::move(out);
      self->reserved_.ShrinkTo(0);
      self->reserved_.ForceGrow(2 * self->out_.size());
      self->Lowest().expires_after(self->host_->options.write_timeout);
      asio::async_write(self->stream_, asio::buffer(self->out_),
                        [self, sent = std::move(sent)](ErrorCode error, std::size_t) { sent(error); });
    });
  }

  const std::shared_ptr<asio::ssl::context> context_;
  Stream stream_;
  std::string peer_;
  asio::steady_timer read_timer_;
  std::uint64_t reads_ = 0;  // begun and ended: tells a timer whether its read is still the one
  bool reading_ = false, late_ = false;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> body_;  // of a chunked body
  bool chunked_ = false;
  std::uint64_t body_bytes_ = 0, body_read_ = 0;  // of one that is not
  std::string head_;
  bool idle_ = false;
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

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
// Of a body that has not come yet, as much is made room for as of it has, or this.
constexpr std::uint64_t kBodyStepBytes = 4 << 10;
// What is read and thrown away after an early refusal, so that the client gets to read it: closing at once would reset the
// connection.
constexpr std::size_t kLingerBytes = 4 << 20;
constexpr std::size_t kLingerReadBytes = 4 << 10;  // little, as nothing counts it and all that are refused at once have it
constexpr std::chrono::seconds kLingerTime{2};
constexpr int kStreamRetrySeconds = 5;
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
        read_timer_(stream_.get_executor()) {}

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
  Ptr Self() { return std::static_pointer_cast<HttpSession>(shared_from_this()); }
  beast::tcp_stream& Lowest() { return beast::get_lowest_layer(stream_); }
  void Close() {
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
    Lowest().expires_after(timeout + kLingerTime);
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
    Lowest().expires_never();
    if (route_->thread == RouteThread::kConnection) return Run();
    auto work = [self = Self()] { self->Run(); };
    if (!host_->ThreadsOf(route_)->TrySubmit(std::move(work))) Overloaded("all workers are busy");
  }

  void Overloaded(std::string_view why) {
    host_->parts.metrics->overloaded.Add();
    Refuse(HttpResponse::TryLater(429, why));
  }

  // On the thread of the route's handler.
  void Run() {
    request_bytes_ = request_.body.size();
    response_ = Handle();
    if (response_.stream != nullptr && request_.method != "HEAD") return RunStream();
    asio::post(stream_.get_executor(), [self = Self()] { self->Answer(); });
  }

  void Refuse(HttpResponse response) {
    DoneReading();
    request_bytes_ = body_ ? body_->get().body().size() : request_.body.size();
    header_.reset();
    body_.reset();
    response_ = std::move(response);
    host_->router.Shape(request_, &response_);
    Answer();
  }

  void Answer() {
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
    Lowest().async_read_some(buffer_.prepare(kLingerReadBytes), [self = Self(), read](ErrorCode error, std::size_t n) {
      if (error) return self->Close();
      self->Linger(read + n);
    });
  }

  // ---- Streaming: the handler's thread fills one piece while the connection sends the one before ----

  // Borrows the thread once the client may be slower than it is: what fits into one piece needs none.
  class Writer : public BodyWriter {
   public:
    explicit Writer(Ptr session) : session_(std::move(session)) {}
    ~Writer() override { GiveBack(); }
    Status Write(std::string_view piece) override {
      written_ += piece.size();
      pending_.append(piece);
      if (!status_.ok() || pending_.size() < kStreamPieceBytes) return status_;
      if (status_ = sent_ ? session_->handed_over_.Await() : Borrow(); status_.ok()) session_->SendPiece(TakeFrame(false));
      return status_;
    }
    // What is pending, and the end of the body.
    std::string TakeEnd() { return TakeFrame(true); }
    void GiveBack() {
      if (loan_) session_->host_->parts.metrics->streams.Sub(1);
      loan_.Return();
    }
    bool sent() const { return sent_; }
    bool refused() const { return refused_; }
    std::uint64_t written() const { return written_; }

   private:
    Status Borrow() {
      const HttpServerParts& parts = session_->host_->parts;
      loan_ = parts.workers->TryLend();
      refused_ = !loan_;
      (refused_ ? parts.metrics->streams_refused : parts.metrics->streams).Add();
      return refused_ ? ResourceExhausted("as many answers are being streamed as this server streams at once") : Status::Ok();
    }
    std::string TakeFrame(bool last) {
      const bool first = !std::exchange(sent_, true);
      return session_->FrameOf(std::exchange(pending_, {}), first, last);
    }

    const Ptr session_;
    WorkerPool::Loan loan_;
    std::string pending_;
    Status status_;
    bool sent_ = false, refused_ = false;
    std::uint64_t written_ = 0;
  };

  void RunStream() {
    Writer writer(Self());
    Status status;
    try {
      status = response_.stream(writer);
      if (status.ok()) status = handed_over_.Await();
      if (status.ok()) {
        std::string end = writer.TakeEnd();
        writer.GiveBack();  // before the client can know the end: its next stream must find the thread free
        return EndStream(std::move(end), writer.written());
      }
    } catch (const std::exception& e) {
      status = UnknownOutcome(e.what());
    }
    if (!writer.sent()) {
      HttpResponse answer = writer.refused()               ? HttpResponse::TryLater(503, status.message(), kStreamRetrySeconds)
                            : response_.failure != nullptr ? response_.failure(status)
                                                           : HttpResponse::Text(500, status.message());
      response_ = std::move(answer);
      if (response_.status == 500) host_->Log(LogLevel::kWarning, request_.path + ": " + status.message());
      return asio::post(stream_.get_executor(), [self = Self()] { self->Answer(); });
    }
    host_->Log(LogLevel::kWarning, "a streamed answer to " + request_.path + " was cut off: " + status.message());
    writer.GiveBack();
    asio::post(stream_.get_executor(), [self = Self(), bytes = writer.written()] {
      self->Observe(bytes);
      self->Forget();  // but not out_, which may be under way
      self->Close();
    });
  }

  // On the handler's thread: hands over one piece; the one before was sent.
  void SendPiece(std::string out) {
    handed_over_.Begin();
    Put(std::move(out), [this](ErrorCode error) { handed_over_.End(error); });
  }

  // No thread waits until the last piece was taken.
  void EndStream(std::string out, std::uint64_t bytes) {
    Put(std::move(out), [this, bytes](ErrorCode error) {
      Observe(bytes);
      Free(&out_);
      OnAnswered(error);
    });
  }

  template <typename Sent>
  void Put(std::string out, Sent sent) {
    asio::post(stream_.get_executor(), [self = Self(), out = std::move(out), sent]() mutable {
      self->out_ = std::move(out);
      self->reserved_.ShrinkTo(0);
      self->reserved_.ForceGrow(2 * self->out_.size());
      self->Lowest().expires_after(self->host_->options.write_timeout);
      asio::async_write(self->stream_, asio::buffer(self->out_), [self, sent](ErrorCode error, std::size_t) { sent(error); });
    });
  }

  const std::shared_ptr<asio::ssl::context> context_;
  Stream stream_;
  std::string peer_;
  asio::steady_timer read_timer_;
  std::uint64_t reads_ = 0;  // begun and ended: tells a timer whether its read is still the one
  bool reading_ = false, late_ = false;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::empty_body>> header_;
  std::optional<http::request_parser<http::string_body>> body_;  // of a chunked body
  bool chunked_ = false;
  std::uint64_t body_bytes_ = 0, body_read_ = 0;  // of one that is not
  std::string head_;
  std::string out_;
  std::uint64_t request_bytes_ = 0;
  bool idle_ = false;
  HandedOver handed_over_;
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

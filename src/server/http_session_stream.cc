// HttpSessionBase: answers that are streamed. The handler's thread fills one piece while the connection sends the one before.
#include <boost/beast/core/error.hpp>
#include <cstdio>
#include <exception>
#include <string_view>
#include <utility>

#include "server/http_session.h"

namespace chronolith::server {
namespace {

constexpr std::size_t kFirstPieceBytes = 64 << 10;    // smaller answers need no thread
constexpr std::size_t kStreamPieceBytes = 256 << 10;  // of the others
constexpr std::size_t kSizeBytes = 10;                // of the line in front of a piece: 8 digits
constexpr int kStreamRetrySeconds = 5;

}  // namespace

void HandedOver::Begin() {
  MutexLock lock(&mu_);
  sending_ = true;
}

void HandedOver::End(boost::system::error_code error) {
  MutexLock lock(&mu_);
  sending_ = false;
  if (error == boost::beast::error::timeout) {
    status_ = DeadlineExceeded("the client took nothing for the write timeout");
  } else if (error) {
    status_ = Cancelled("the client has gone: " + error.message());
  }
  sent_.SignalAll();
}

Status HandedOver::Await() {
  MutexLock lock(&mu_);
  while (sending_) sent_.Wait(&mu_);
  return status_;
}

// Borrows the thread once the client may be slower than it is: what fits into one piece needs none. Thread safety: one thread.
class HttpSessionBase::StreamWriter : public BodyWriter {
 public:
  explicit StreamWriter(HttpSessionBase* session) : session_(session) {}
  ~StreamWriter() override { GiveBack(); }
  Status Write(std::string_view piece) override {
    if (piece.empty()) return status_;
    written_ += piece.size();
    if (pending_.empty()) {
      if (sent_) pending_.reserve(kStreamPieceBytes + kStreamPieceBytes / 16);
      if (session_->http11_) pending_.append(kSizeBytes, '0');
    }
    pending_.append(piece);
    if (!status_.ok() || pending_.size() < (sent_ ? kStreamPieceBytes : kFirstPieceBytes)) return status_;
    status_ = sent_ ? session_->handed_over_.Await() : Borrow();
    if (!status_.ok()) return status_;
    session_->handed_over_.Begin();
    session_->SendPiece(TakeFrame(false), [to = session_](boost::system::error_code error) { to->handed_over_.End(error); });
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

  HttpSessionBase* const session_;
  WorkerPool::Loan loan_;
  std::string pending_;
  Status status_;
  bool sent_ = false, refused_ = false;
  std::uint64_t written_ = 0;
};

void HttpSessionBase::RunStream() {
  StreamWriter writer(this);
  Status status;
  try {
    status = response_.stream(writer);
    if (status.ok()) status = handed_over_.Await();
    if (status.ok()) {
      std::string end = writer.TakeEnd();
      writer.GiveBack();  // before the client can know the end: its next stream must find the thread free
      // No thread waits until it was taken.
      return SendPiece(std::move(end), [this, bytes = writer.written()](boost::system::error_code error) {
        Observe(bytes);
        Free(&out_);
        OnAnswered(error);
      });
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
    return Post([this] { Answer(); });
  }
  host_->Log(LogLevel::kWarning, "a streamed answer to " + request_.path + " was cut off: " + status.message());
  writer.GiveBack();
  Post([this, bytes = writer.written()] {
    Observe(bytes);
    Forget();  // but not out_, which may be under way
    Close();
  });
}

std::string HttpSessionBase::FrameOf(std::string piece, bool first, bool last) {
  if (http11_ && !piece.empty()) {
    char size[kSizeBytes + 1];
    std::snprintf(size, sizeof(size), "%08zx\r\n", piece.size() - kSizeBytes);
    piece.replace(0, kSizeBytes, size, kSizeBytes).append("\r\n");
  }
  if (http11_ && last) piece.append("0\r\n\r\n");
  if (first) {
    // Where the client does not know chunks the end of the connection is the end of the body.
    if (!http11_ || host_->stopping.load(std::memory_order_relaxed)) keep_alive_ = false;
    piece.insert(0, HeadOf(response_, std::nullopt, http11_));
  }
  return piece;
}

}  // namespace chronolith::server

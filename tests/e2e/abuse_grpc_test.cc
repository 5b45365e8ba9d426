// Proof 5, gRPC below its messages: frames, lengths and streams that no client library would send.
#include <algorithm>
#include <functional>

#include "base/coding.h"
#include "tests/e2e/abuse_fixture.h"

namespace chronolith::testing {
namespace {

enum FrameType : char { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kWindowUpdate = 8, kContinuation = 9 };
constexpr char kEndStream = 1, kAck = 1, kEndHeaders = 4;

std::string BigEndian(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

// `length`: what the frame says of its payload.
std::string Frame(FrameType type, int flags, std::uint32_t stream, std::string_view payload, std::uint64_t length) {
  return BigEndian(length, 3) + static_cast<char>(type) + static_cast<char>(flags) + BigEndian(stream, 4) + std::string(payload);
}
std::string Frame(FrameType type, int flags, std::uint32_t stream, std::string_view payload = {}) {
  return Frame(type, flags, stream, payload, payload.size());
}

// HPACK: a literal that goes into no table.
std::string Literal(std::string_view name, std::string_view value) {
  std::string out(1, '\0');
  for (const std::string_view text : {name, value}) {
    constexpr std::size_t kPrefix = 127;  // of a length of up to 254
    out.push_back(static_cast<char>(std::min(text.size(), kPrefix)));
    if (text.size() >= kPrefix) out.push_back(static_cast<char>(text.size() - kPrefix));
    out.append(text);
  }
  return out;
}

std::string CallHeaders(std::string_view encoding = {}) {
  std::string block = Literal(":method", "POST") + Literal(":scheme", "http") +
                      Literal(":path", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export") +
                      Literal(":authority", "x") + Literal("te", "trailers") + Literal("content-type", "application/grpc");
  return encoding.empty() ? block : block + Literal("grpc-encoding", encoding);
}

// Into the table, or in the next ones what stands there.
std::string CallHeadersInTable(bool first) {
  constexpr int kStaticEntries = 61;
  const std::pair<std::string_view, std::string_view> all[] = {
      {":path", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"},
      {":authority", "x"},
      {"te", "trailers"},
      {"content-type", "application/grpc"}};
  std::string block = "\x83\x86";  // POST, http
  for (int i = 0; i < 4; ++i) {
    std::string literal = Literal(all[i].first, all[i].second);
    literal.front() = 0x40;
    block += first ? literal : std::string(1, static_cast<char>(0x80 | (kStaticEntries + 4 - i)));
  }
  return block;
}

const std::string kHello = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0);

// `length`: what stands in front of the message.
std::string Message(std::string_view bytes, std::uint64_t length, char compressed = 0) {
  return compressed + BigEndian(length, 4) + std::string(bytes);
}

class AbuseGrpc : public AbuseTest {
 protected:
  std::unique_ptr<RawClient> Connect() const { return std::make_unique<RawClient>(static_cast<std::uint16_t>(grpc_port_)); }
  // grpc-status of the call that `frames` make; -1: the connection ended without.
  int StatusOf(const std::string& frames) {
    const auto client = Connect();
    client->Send(kHello + frames);
    const std::string mark = "grpc-status", got = client->ReadBehind(mark, 2);
    const std::size_t at = got.find(mark);
    return at == std::string::npos
               ? -1
               : std::atoi(got.substr(at + mark.size() + 1, static_cast<std::size_t>(got[at + mark.size()])).c_str());
  }
};

TEST_F(AbuseGrpc, MessagesWhoseLengthsLie) {
  Start();
  const std::string headers = Frame(kHeaders, kEndHeaders, 1, CallHeaders());
  const auto call = [&](const std::string& body) { return StatusOf(headers + Frame(kData, kEndStream, 1, body)); };
  constexpr int kOk = 0, kInvalid = 3;
  EXPECT_EQ(call(Message("", 0)), kOk);
  EXPECT_EQ(call(Message("\x0a\x05nope", 6)), kInvalid);
  EXPECT_EQ(call(Message("", 0xffffffff)), kInvalid);
  EXPECT_EQ(call(Message("", kBodyMax + 1)), kInvalid);
  EXPECT_EQ(call(Message("abc", 100)), kInvalid);            // and no more comes
  EXPECT_EQ(call(Message("abcdefgh", 2)), kInvalid);         // the rest is no message
  EXPECT_EQ(call(Message("", 0) + Message("abc", 3)), kOk);  // gRPC takes the first of a unary call
  EXPECT_EQ(call(Message("no gzip", 7, 1)), kInvalid);       // compressed by nothing that was told
  EXPECT_EQ(call(""), kInvalid);
  EXPECT_EQ(call(std::string(2, '\0')), kInvalid);
  EXPECT_EQ(call(Message("abc", 3, 7)), kOk);  // of flags that do not exist gRPC makes an empty message
}

TEST_F(AbuseGrpc, FramesThatBreakTheConnectionOnly) {
  Start();
  const std::string call = CallHeaders();
  const std::string cases[] = {
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      std::string(100'000, '\xff'),
      kHello + Frame(kSettings, 0, 0, "12345"),                              // no whole settings
      kHello + Frame(kData, 0, 0, "x"),                                      // data of no stream
      kHello + Frame(kHeaders, kEndHeaders, 2, call),                        // a client's streams are odd
      kHello + Frame(kHeaders, kEndHeaders, 1, "\xff\xff\xff\xff\xff\xff"),  // an index beyond the table
      kHello + Frame(kHeaders, kEndHeaders, 1, call) + Frame(kData, 0, 1, "", 0xffffff),
      kHello + Frame(kContinuation, 0, 1, call),
      kHello + Frame(kWindowUpdate, 0, 0, BigEndian(0, 4)),
      kHello + Frame(kPing, 0, 0, "1"),
  };
  for (const std::string& bytes : cases) {
    const auto client = Connect();
    client->Send(bytes);
    client->CloseSending();
    client->ReadToEnd();
    EXPECT_EQ(CallGrpc(""), grpc::StatusCode::OK) << ::testing::PrintToString(bytes.substr(0, 60));
  }
  // Streams that are reset as fast as they begin; a header that goes on and on; pings without end; many streams that never send.
  std::string resets, endless = Frame(kHeaders, 0, 1, call), pings, stalled;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    resets += Frame(kHeaders, kEndHeaders, 2 * i + 1, call) + Frame(kReset, 0, 2 * i + 1, BigEndian(8, 4));
    endless += Frame(kContinuation, 0, 1, Repeated(Literal("x-" + std::to_string(i), std::string(100, 'y')), 50));
    pings += Frame(kPing, 0, 0, "12345678");
    stalled += Frame(kHeaders, kEndHeaders, 2 * i + 1, call) + Frame(kData, 0, 2 * i + 1, Message("half", 1000));
  }
  for (const std::string& bytes : {resets, endless, pings, stalled}) {
    const auto client = Connect();
    client->Send(kHello + bytes);
    GoodWorks();
  }
}

// Until a client has acknowledged how many calls it may have, gRPC holds it to no number; and to none of all connections, ever.
TEST_F(AbuseGrpc, CallsThatStall) {
  Start();
  const double before = Metric("chronolith_grpc_connections_shut_down_total");
  constexpr std::uint32_t kCalls = 50'000;
  std::string calls = kHello;
  for (std::uint32_t i = 0; i < kCalls; ++i) calls += Frame(kHeaders, kEndHeaders, 2 * i + 1, CallHeadersInTable(i == 0));
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(Connect());
    clients.back()->Send(calls);
  }
  for (const auto& client : clients) client->ReadToEnd();
  const double shut_down = Metric("chronolith_grpc_connections_shut_down_total") - before;
  EXPECT_GE(shut_down, 1);
  EXPECT_LE(shut_down, static_cast<double>(clients.size()));
  const auto taken = [&] { return CallGrpc("") == grpc::StatusCode::OK; };
  Await("room for others", taken);
  GoodWorks();
  // Of clients that have gone: what they had sent is there.
  for (const auto& client : clients) client->ResetAtEnd();
  for (int i = 0; i < 12; ++i) {
    RawClient gone(static_cast<std::uint16_t>(grpc_port_));
    gone.ResetAtEnd();
    gone.Send(calls);
  }
  Await("room for others", taken);
  GoodWorks();
  // As many as each may have, of more than may have them at the same time.
  clients.clear();
  std::string few = Frame(kSettings, kAck, 0);
  for (std::uint32_t i = 0; i < 128; ++i) few += Frame(kHeaders, kEndHeaders, 2 * i + 1, CallHeadersInTable(i == 0));
  for (int i = 0; i < 12; ++i) {
    clients.push_back(Connect());
    clients.back()->Send(kHello);
    clients.back()->ReadBehind(Frame(kSettings, kAck, 0), 0);  // its own came before
    clients.back()->Send(few);
  }
  Await("room for others", taken);
  GoodWorks();
}

// gRPC makes a call of them when they have ended, and bounds each frame only.
TEST_F(AbuseGrpc, HeadersWithoutAnEnd) {
  Start();
  std::string more;
  for (int i = 0; i < 50; ++i) more += Literal("k" + std::to_string(i), std::string(250, 'v'));
  more = Frame(kContinuation, 0, 1, more);
  const auto client = Connect();
  client->Send(kHello + Frame(kHeaders, 0, 1, CallHeaders()));
  constexpr std::size_t kEnough = 1 << 30;
  std::size_t sent = 0;
  while (sent < kEnough && client->Send(more)) sent += more.size();
  EXPECT_LT(sent, kEnough);
  GoodWorks();
}

// They hold what they have sent, and gRPC's memory bounds that.
TEST_F(AbuseGrpc, ManyHalfMessages) {
  Start();
  std::vector<std::unique_ptr<RawClient>> clients;
  const std::string begun = kHello + Frame(kHeaders, kEndHeaders, 1, CallHeaders()) +
                            Frame(kData, 0, 1, Message(std::string(16'000, 'x'), kBodyMax)) +
                            Repeated(Frame(kData, 0, 1, std::string(16'000, 'x')), 3);
  for (int i = 0; i < 300; ++i) {
    clients.push_back(Connect());
    clients.back()->Send(begun);
  }
  GoodWorks();
}

// Each has its settings and says nothing more. They count against gRPC's memory, and those for which there is none are closed.
TEST_F(AbuseGrpc, IdleConnectionsBeyondTheMemoryAreClosed) {
  constexpr std::size_t kIdle = 6000;
  RaiseFileLimit(kIdle + 500);
  Start();
  std::vector<std::unique_ptr<RawClient>> clients;
  while (clients.size() < kIdle) {
    clients.push_back(Connect());
    clients.back()->Send(kHello + Frame(kSettings, kAck, 0));
  }
  const std::string nothing = Frame(kWindowUpdate, 0, 0, BigEndian(1, 4));
  Await("the end of those beyond it", [&] {
    return std::count_if(clients.begin(), clients.end(), [&](const auto& client) { return !client->Send(nothing); }) >
           static_cast<std::ptrdiff_t>(kIdle / 6);
  });
  GoodWorks();
  clients.clear();
  const std::string call = Frame(kHeaders, kEndHeaders, 1, CallHeaders()) + Frame(kData, kEndStream, 1, Message("", 0));
  Await("room for others", [&] { return StatusOf(call) == 0; });
}

}  // namespace
}  // namespace chronolith::testing

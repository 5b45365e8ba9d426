#include "server/grpc_listener.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/posix_file.h"

namespace chronolith::server {
namespace {

using ::testing::HasSubstr;
using Tcp = boost::asio::ip::tcp;

class GrpcListenerTest : public ::testing::Test {
 protected:
  void Serve(GrpcListenerOptions options = {}) {
    auto listener = GrpcListener::Listen(options, &metrics_, nullptr);
    ASSERT_TRUE(listener.ok()) << listener.status().ToString();
    listener_ = std::move(*listener);
    listener_->Serve({.busy =
                          [this] {
                            MutexLock lock(&mu_);
                            ++asked_;
                            took_.SignalAll();
                            return busy_;
                          },
                      .take =
                          [this](int fd) {
                            MutexLock lock(&mu_);
                            taken_.emplace_back(fd);
                            took_.SignalAll();
                          },
                      .tick =
                          [this] {
                            MutexLock lock(&mu_);
                            ++ticks_;
                            took_.SignalAll();
                          }});
  }
  // gRPC's end of the `n`th connection.
  int Taken(std::size_t n) {
    MutexLock lock(&mu_);
    while (taken_.size() <= n) took_.Wait(&mu_);
    return taken_[n].get();
  }
  void CloseTaken(std::size_t n) {
    MutexLock lock(&mu_);
    taken_[n].Reset();
  }
  void AwaitTicks(int n) {
    MutexLock lock(&mu_);
    for (const int until = ticks_ + n; ticks_ < until;) took_.Wait(&mu_);
  }
  void AwaitAsked(int n) {
    MutexLock lock(&mu_);
    while (asked_ < n) took_.Wait(&mu_);
  }
  void SetBusy(bool busy) {
    MutexLock lock(&mu_);
    busy_ = busy;
  }
  Tcp::socket Connect() {
    Tcp::socket client(io_);
    const char* const address = listener_->address().front() == '[' ? "::1" : "127.0.0.1";
    client.connect({boost::asio::ip::make_address(address), listener_->port()});
    return client;
  }
  static std::string PeerOf(const Tcp::socket& client) { return GrpcPeerOf(client.local_endpoint()); }
  static bool IsUp(const Tcp::socket& client) {
    char byte;
    return recv(const_cast<Tcp::socket&>(client).native_handle(), &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN;
  }
  static std::string ReadAll(Tcp::socket* client) {
    std::string all;
    char bytes[100];
    boost::system::error_code error;
    while (true) {
      const std::size_t n = client->read_some(boost::asio::buffer(bytes), error);
      if (error) return all;
      all.append(bytes, n);
    }
  }

  boost::asio::io_context io_;
  GrpcMetrics metrics_;
  Mutex mu_;
  CondVar took_;
  std::vector<FileDescriptor> taken_;
  int ticks_ = 0;
  int asked_ = 0;
  bool busy_ = false;
  std::unique_ptr<GrpcListener> listener_;
};

TEST_F(GrpcListenerTest, GivesConnectionsAwayAndKnowsThemByTheirPeer) {
  for (const char* address : {"127.0.0.1", "::1", "::"}) {
    taken_.clear();
    Serve({.address = address});
    Tcp::socket client = Connect();
    const int fd = Taken(0);
    EXPECT_EQ(send(fd, "hello", 5, 0), 5);
    const auto connection = listener_->Find(PeerOf(client));
    ASSERT_NE(connection, nullptr) << address;
    EXPECT_TRUE(connection->IsOpen());
    EXPECT_EQ(listener_->Find("ipv4:127.0.0.1:1"), nullptr);
    CloseTaken(0);
    EXPECT_FALSE(connection->IsOpen());
    EXPECT_EQ(ReadAll(&client), "hello");
    listener_.reset();
  }
}

// As IPv4's, which gRPC names it by.
TEST_F(GrpcListenerTest, KnowsAMappedAddress) {
  Serve({.address = "::"});
  Tcp::socket client(io_);
  client.connect({boost::asio::ip::make_address("127.0.0.1"), listener_->port()});
  Taken(0);
  EXPECT_NE(listener_->Find(PeerOf(client)), nullptr);
}

TEST_F(GrpcListenerTest, ShutsDownAConnectionBelowItsOwner) {
  Serve();
  Tcp::socket one = Connect(), other = Connect();
  const int fd_of_one = Taken(0), fd_of_other = Taken(1);
  EXPECT_EQ(one.send(boost::asio::buffer("unread", 6)), 6U);
  listener_->ShutDown(listener_->Find(PeerOf(one)).get());
  char byte;
  EXPECT_EQ(recv(fd_of_one, &byte, 1, MSG_DONTWAIT), 0);  // the end, with nothing before it
  EXPECT_EQ(ReadAll(&one), "");
  EXPECT_EQ(recv(fd_of_other, &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
}

// What came before is there all the same, and gRPC would read it.
TEST_F(GrpcListenerTest, ShutsDownAConnectionThatTheClientHasReset) {
  Serve();
  Tcp::socket client = Connect();
  const int fd = Taken(0);
  const auto connection = listener_->Find(PeerOf(client));
  EXPECT_EQ(client.send(boost::asio::buffer("unread", 6)), 6U);
  client.set_option(boost::asio::socket_base::linger(true, 0));
  client.close();
  pollfd reset{.fd = fd, .events = 0, .revents = 0};
  ASSERT_EQ(poll(&reset, 1, -1), 1);
  EXPECT_EQ(connection->UnreadBytes(), 6U);
  EXPECT_TRUE(connection->ShutDown());
  EXPECT_EQ(connection->UnreadBytes(), 0U);
  EXPECT_FALSE(connection->ShutDown()) << "it was done";
}

TEST_F(GrpcListenerTest, ShutsDownTheLargest) {
  Serve();
  Tcp::socket idle = Connect(), small = Connect(), large = Connect(), sending = Connect();
  Taken(3);
  const auto enter = [&](const Tcp::socket& client, int calls) {
    for (int i = 0; i < calls; ++i) listener_->Find(PeerOf(client))->Enter();
  };
  enter(small, 1);
  enter(large, 100);
  listener_->ShutDownLargest(0);  // no more than they may
  for (const Tcp::socket* client : {&idle, &small, &large}) EXPECT_TRUE(IsUp(*client));
  enter(large, 29);
  listener_->ShutDownLargest(0);
  EXPECT_EQ(ReadAll(&large), "");
  EXPECT_EQ(sending.send(boost::asio::buffer(std::string(100, 'x'))), 100U);
  listener_->ShutDownLargest(1);
  EXPECT_EQ(ReadAll(&sending), "");
  EXPECT_TRUE(IsUp(small));
  listener_->ShutDownLargest(8);
  EXPECT_EQ(ReadAll(&small), "");
  EXPECT_TRUE(IsUp(idle));
}

// Headers that do not end, or a message that takes too long; what becomes calls is none of that.
TEST_F(GrpcListenerTest, ShutsDownWhoSendsWhatBecomesNothing) {
  Serve({.unsettled_bytes_max = 100 << 10, .tick = std::chrono::milliseconds(1)});
  Tcp::socket client = Connect();
  const int fd = Taken(0);
  const std::string bytes(10 << 10, 'x');
  const auto send_and_read = [&] {
    ASSERT_EQ(boost::asio::write(client, boost::asio::buffer(bytes)), bytes.size());
    std::string read(bytes.size(), '\0');
    ASSERT_EQ(recv(fd, read.data(), read.size(), MSG_WAITALL), static_cast<ssize_t>(bytes.size()));
  };
  fcntl(fd, F_SETFL, 0);  // blocking
  for (int i = 0; i < 30; ++i) {
    send_and_read();
    if (i % 5 == 4) {
      listener_->Find(PeerOf(client))->OnMessage();
      AwaitTicks(2);
    }
  }
  EXPECT_TRUE(IsUp(client));
  for (int i = 0; i < 11; ++i) send_and_read();
  EXPECT_EQ(ReadAll(&client), "");
}

TEST_F(GrpcListenerTest, ShutsDownWhoSendsForTooLong) {
  Serve({.unsettled_timeout = std::chrono::milliseconds(20), .tick = std::chrono::milliseconds(1)});
  Tcp::socket idle = Connect(), client = Connect();
  const int fd = Taken(1);
  const std::string bytes(100 << 10, 'x');
  fcntl(fd, F_SETFL, 0);
  ASSERT_EQ(boost::asio::write(client, boost::asio::buffer(bytes)), bytes.size());
  std::string read(bytes.size(), '\0');
  (void)recv(fd, read.data(), read.size(), MSG_WAITALL);
  EXPECT_EQ(ReadAll(&client), "");
  EXPECT_TRUE(IsUp(idle));
}

TEST_F(GrpcListenerTest, ShutsDownWhoTakesNoAnswersWhereThereIsRoomForNoMoreCalls) {
  Serve({.tick = std::chrono::milliseconds(1)});
  Tcp::socket client = Connect();
  Taken(0);
  const auto connection = listener_->Find(PeerOf(client));
  for (int i = 0; i < 100; ++i) {
    connection->Enter();
    connection->OnAnswer();
  }
  AwaitTicks(3);
  EXPECT_TRUE(IsUp(client));
  SetBusy(true);
  EXPECT_EQ(ReadAll(&client), "");
}

TEST_F(GrpcListenerTest, WhatIsLeftIsShutDownWhenTheGraceIsOver) {
  Serve();
  Tcp::socket client = Connect();
  Taken(0);
  listener_->StopAccepting(std::chrono::milliseconds(1));
  EXPECT_EQ(ReadAll(&client), "");
}

TEST(GrpcPeerOf, WritesAsGrpcDoes) {
  const auto peer = [](const char* address) { return GrpcPeerOf({boost::asio::ip::make_address(address), 80}); };
  EXPECT_EQ(peer("127.0.0.1"), "ipv4:127.0.0.1:80");
  EXPECT_EQ(peer("::ffff:127.0.0.1"), "ipv4:127.0.0.1:80");
  EXPECT_EQ(peer("::1"), "ipv6:%5B::1%5D:80");
  EXPECT_EQ(peer("fe80::1%1"), "ipv6:%5Bfe80::1%251%5D:80");
}

TEST_F(GrpcListenerTest, ConnectionsWaitWhileTheHostIsBusy) {
  SetBusy(true);
  Serve();
  Tcp::socket one = Connect(), two = Connect();
  AwaitAsked(3);
  EXPECT_EQ(listener_->Find(PeerOf(one)), nullptr);
  SetBusy(false);
  Taken(1);
  EXPECT_NE(listener_->Find(PeerOf(one)), nullptr);
  EXPECT_NE(listener_->Find(PeerOf(two)), nullptr);
}

// Its number is another socket's by then.
TEST_F(GrpcListenerTest, ShutsDownNoOtherSocketOfTheSameNumber) {
  Serve();
  Tcp::socket client = Connect();
  const int fd = Taken(0);
  const auto connection = listener_->Find(PeerOf(client));
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  ASSERT_EQ(dup2(pair[0], fd), fd);
  close(pair[0]);
  EXPECT_FALSE(connection->IsOpen());
  EXPECT_FALSE(connection->ShutDown());
  EXPECT_EQ(send(fd, "x", 1, MSG_NOSIGNAL), 1);
  close(pair[1]);
}

TEST_F(GrpcListenerTest, RefusesThoseBeyondTheLimitUntilOthersHaveEnded) {
  Serve({.connections_max = 2, .tick = std::chrono::milliseconds(1)});
  Tcp::socket one = Connect(), two = Connect();
  Taken(1);
  Tcp::socket refused = Connect();
  EXPECT_EQ(ReadAll(&refused), "");
  CloseTaken(0);
  AwaitTicks(2);
  Tcp::socket three = Connect();
  Taken(2);
  EXPECT_NE(listener_->Find(PeerOf(three)), nullptr);
  EXPECT_EQ(listener_->Find(PeerOf(one)), nullptr);
}

TEST_F(GrpcListenerTest, ForgetsEndedOnesWithTime) {
  Serve({.tick = std::chrono::milliseconds(1)});
  Tcp::socket client = Connect(), stays = Connect();
  Taken(1);
  AwaitTicks(2);
  EXPECT_NE(listener_->Find(PeerOf(client)), nullptr);
  CloseTaken(0);
  AwaitTicks(2);
  EXPECT_EQ(listener_->Find(PeerOf(client)), nullptr);
}

TEST_F(GrpcListenerTest, SaysWhatIsWrongWithAnAddress) {
  const auto wrong = GrpcListener::Listen({.address = "localhost"}, nullptr, nullptr);
  EXPECT_EQ(wrong.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(wrong.status().message(), HasSubstr("'localhost'"));
  Serve();
  const auto taken = GrpcListener::Listen({.port = listener_->port()}, nullptr, nullptr);
  EXPECT_EQ(taken.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(taken.status().message(), HasSubstr(listener_->address()));
}

}  // namespace
}  // namespace chronolith::server

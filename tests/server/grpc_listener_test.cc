#include "server/grpc_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
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
    listener_->Serve({.busy = [this] { return busy_.load(); },
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
  Tcp::socket Connect() {
    Tcp::socket client(io_);
    const char* const address = listener_->address().front() == '[' ? "::1" : "127.0.0.1";
    client.connect({boost::asio::ip::make_address(address), listener_->port()});
    return client;
  }
  static std::string PeerOf(const Tcp::socket& client) {
    const Tcp::endpoint local = client.local_endpoint();
    const std::string port = ":" + std::to_string(local.port());
    return local.address().is_v4() ? "ipv4:127.0.0.1" + port : "ipv6:%5B::1%5D" + port;
  }
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
  std::atomic<bool> busy_{false};
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
  listener_->ShutDown(*listener_->Find(PeerOf(one)));
  char byte;
  EXPECT_EQ(recv(fd_of_one, &byte, 1, MSG_DONTWAIT), 0);  // the end, with nothing before it
  EXPECT_EQ(ReadAll(&one), "");
  EXPECT_EQ(recv(fd_of_other, &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(GrpcListenerTest, ShutsDownTheLargest) {
  Serve();
  Tcp::socket idle = Connect(), calling = Connect(), sending = Connect();
  const int fd_of_idle = Taken(0);
  Taken(2);
  Tcp::socket last = Connect();  // the others have been given away whole
  Taken(3);
  for (int i = 0; i < 3; ++i) listener_->Find(PeerOf(calling))->Enter();
  EXPECT_EQ(sending.send(boost::asio::buffer("unread", 6)), 6U);
  listener_->ShutDownLargest(3, 6);
  for (const Tcp::socket* client : {&calling, &sending}) EXPECT_TRUE(IsUp(*client));
  listener_->ShutDownLargest(2, 6);
  EXPECT_EQ(ReadAll(&calling), "");
  EXPECT_TRUE(IsUp(sending));
  listener_->ShutDownLargest(2, 5);
  EXPECT_EQ(ReadAll(&sending), "");
  char byte;
  EXPECT_EQ(recv(fd_of_idle, &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_TRUE(IsUp(idle));
}

TEST_F(GrpcListenerTest, ConnectionsWaitWhileTheHostIsBusy) {
  busy_ = true;
  Serve({.tick = std::chrono::milliseconds(20)});
  Tcp::socket one = Connect(), two = Connect();
  AwaitTicks(3);
  EXPECT_EQ(listener_->Find(PeerOf(one)), nullptr);
  busy_ = false;
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
  Serve({.connections_max = 2});
  Tcp::socket one = Connect(), two = Connect();
  Taken(1);
  Tcp::socket refused = Connect();
  EXPECT_EQ(ReadAll(&refused), "");
  CloseTaken(0);
  Tcp::socket three = Connect();
  Taken(2);
  EXPECT_NE(listener_->Find(PeerOf(three)), nullptr);
  EXPECT_EQ(listener_->Find(PeerOf(one)), nullptr);
}

TEST_F(GrpcListenerTest, ForgetsEndedOnesWithTime) {
  Serve({.tick = std::chrono::milliseconds(1)});
  Tcp::socket client = Connect();
  Taken(0);
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

// Look-ups whose results are large, many at once.
#include <atomic>
#include <set>
#include <thread>

#include "tests/e2e/abuse_fixture.h"
#include "tests/interop/remote_write_encode.h"
#include "tests/support/remote_read.h"

namespace chronolith::testing {
namespace {

constexpr int kSeries = 60'000;

class AbuseLookups : public AbuseTest {
 protected:
  // Series with 300 bytes of labels, each with a value of its own.
  void WriteMany() {
    LeaveOut("many");
    constexpr int kAtOnce = 5000;
    for (int begin = 0; begin < kSeries; begin += kAtOnce) {
      std::vector<TimeSeries> series;
      for (int i = begin; i < begin + kAtOnce; ++i) {
        const std::string own = std::to_string(1'000'000 + i);
        series.push_back({.labels = {{"__name__", "many_" + std::to_string(i % 1000)},
                                     {"job", std::string(100, 'j')},
                                     {"own", own + std::string(60, 'o')},
                                     {"text", std::string(100, 't')}},
                          .samples = {{kGoodStart, 1.0 * i}}});
      }
      ASSERT_EQ(PostWrite(kWriteType1, Snappy(EncodeRemoteWrite(interop::RemoteWriteVersion::k1, series))), 204);
    }
  }
  static std::string Read(std::uint32_t form) {
    return Post("/api/v1/read",
                Snappy(ReadRequest({QueryBytes(kGoodStart, kGoodStart, {MatcherBytes(2, "__name__", "many.*")})}, {form})),
                TypeAndEncoding(kWriteType1, "snappy"));
  }
};

TEST_F(AbuseLookups, ManyAtOnceStayWithinTheMemory) {
  Start();
  WriteMany();
  const std::string many = "match%5B%5D=%7B__name__%3D~%22many.*%22%7D";
  const std::vector<std::string> lookups = {Get("/api/v1/series?" + many),
                                            Get("/api/v1/series?" + many + "&" + many),
                                            Get("/api/v1/label/own/values"),
                                            Get("/api/v1/label/own/values?" + many + "&" + many),
                                            Get("/api/v1/labels?" + many),
                                            Get("/api/v1/export?" + many),
                                            Get("/api/v1/status/tsdb?limit=10000"),
                                            Get("/api/v1/metadata"),
                                            Get("/api/v1/query_exemplars?query=%7B__name__%3D~%22many.*%22%7D"),
                                            Read(0),
                                            Read(1)};
  constexpr int kClients = 32, kRounds = 6;
  std::atomic<int> answered{0}, refused{0}, others{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c, this] {
      for (int i = 0; i < kRounds; ++i) {
        RawClient client(port());
        const RawAnswer answer = client.Ask(lookups[static_cast<std::size_t>(c + i) % lookups.size()]);
        const bool cut_off = answer.error.starts_with("cut off");  // others took the memory for its next piece
        if (answer.status == 200) {
          answered.fetch_add(1);
        } else if (cut_off || answer.status == 503 || answer.status == 429 || answer.status == 422 || answer.status == 413) {
          refused.fetch_add(1);
        } else {
          others.fetch_add(1);
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(others.load(), 0);
  EXPECT_GT(answered.load(), 0);
  std::printf("%d look-ups answered, %d refused\n", answered.load(), refused.load());

  // Alone, what is answered in pieces is answered whole.
  const RawAnswer series = Ask(lookups[0]);
  ASSERT_EQ(series.status, 200) << series.body;
  std::set<std::string> seen;
  const auto parsed = nlohmann::json::parse(series.body);
  for (const auto& one : parsed["data"]) seen.insert(one["own"]);
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kSeries));
  const RawAnswer exported = Ask(Get("/api/v1/export?" + many));
  EXPECT_EQ(exported.status, 200) << exported.body;
  EXPECT_EQ(Lines(exported.body).size(), static_cast<std::size_t>(kSeries));
}

}  // namespace
}  // namespace chronolith::testing

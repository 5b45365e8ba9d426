// What a store must hold after its writer was killed, and what it may hold: kept outside the writer's process.
//
// An operation is promised where it was acknowledged as logged or synced, or where it was acknowledged at all before another
// operation was called that was acknowledged so: whatever is reached has been reached by all older writes. Per series that one
// thread writes to, a crash leaves a beginning of that thread's operations with all promised ones in it. Of a series that several
// threads write to, it leaves all promised samples and any others that were sent.
#ifndef CHRONOLITH_TESTS_CRASH_MODEL_H_
#define CHRONOLITH_TESTS_CRASH_MODEL_H_

#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/crash/plan.h"

namespace chronolith::crash {

using Points = std::map<Timestamp, double>;
using Contents = std::map<Labels, Points>;

class Model {
 public:
  explicit Model(std::uint64_t seed) : seed_(seed) {}

  // ---- One life of the writer ----
  void OnMessage(const Message& message);
  // Operations that were called and had not returned.
  std::string InFlight() const;

  // Compares; what is found is what the next life begins with. Each problem is a line.
  std::vector<std::string> Check(Storage* store);
  // Of the last Check: samples that were sent and not promised, and how many of them are there.
  std::uint64_t unpromised() const { return unpromised_; }
  std::uint64_t unpromised_found() const { return unpromised_found_; }

  // Something that the checker itself has written.
  void Add(const TimeSeries& series);
  const Contents& contents() const { return contents_; }
  std::uint64_t next_number(std::uint32_t thread) const { return next_[thread]; }
  std::uint64_t promised_total() const { return promised_total_; }  // samples, over all lives

 private:
  struct Sent {
    std::uint32_t thread = 0;
    std::uint64_t number = 0;
    Op op;
    std::uint64_t sent_at = 0;  // position among all messages
    std::uint64_t done_at = 0;  // 0: not acknowledged
    bool promised = false;
  };
  // What one operation does to one series.
  struct Event {
    const TimeSeries* written = nullptr;
    TimeRange deleted;
    bool promised = false;
  };

  void DecidePromises();
  std::map<Labels, std::vector<Event>> EventsBySeries() const;
  void CheckOwn(const Labels& labels, const std::vector<Event>& events, const Points& found, std::vector<std::string>* problems);
  void CheckShared(const Labels& labels, const std::vector<Event>& events, const Points& found, std::vector<std::string>* problems);
  void CheckItems(Storage* store, const Labels& labels, const Points& found, std::vector<std::string>* problems) const;
  void CheckIndex(Storage* store, const Contents& found, std::vector<std::string>* problems);

  const std::uint64_t seed_;
  Contents contents_;
  std::set<Labels> ever_sent_;           // series
  std::map<std::uint64_t, Labels> ids_;  // every id that was ever seen
  std::array<std::uint64_t, kThreads> next_{};
  std::array<std::vector<Sent>, kThreads> sent_;  // of this life
  std::uint64_t messages_ = 0;
  bool closed_ = false;
  std::uint64_t unpromised_ = 0;
  std::uint64_t unpromised_found_ = 0;
  std::uint64_t promised_total_ = 0;
};

// All that the store holds, histograms by the value that they are made of, or what keeps it from being read. kDataLoss: also what
// nobody writes, such as a histogram that is not made of its value.
Result<Contents> ReadAll(Storage* store);

}  // namespace chronolith::crash

#endif  // CHRONOLITH_TESTS_CRASH_MODEL_H_

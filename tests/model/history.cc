#include "tests/model/history.h"

#include <algorithm>
#include <optional>
#include <set>

namespace chronolith {
namespace {

std::string Text(const HistoryWrite& w) {
  return std::string(w.deletes ? "delete" : "write") + " of version " + std::to_string(w.version) + " at series " +
         std::to_string(w.series) + ", t " + std::to_string(w.t) + " [" + std::to_string(w.invoked) + ", " +
         (w.returned == kNeverReturned ? "never" : std::to_string(w.returned)) + "]";
}

std::string Text(const SeenVersions& seen) {
  std::string text = seen.empty() ? " nothing of the series" : "";
  for (const auto& [t, version] : seen) text += " " + std::to_string(t) + ":" + std::to_string(version);
  return text;
}

// A write or a read as a node: edges go to what must stand behind it.
struct Node {
  std::string text;
  std::uint64_t invoked = 0;
  std::uint64_t returned = kNeverReturned;
  std::vector<std::size_t> after;
  enum class Mark : std::uint8_t { kNew, kOpen, kDone } mark = Mark::kNew;
};

// Depth first; the path holds a cycle when true.
bool FindCycle(std::vector<Node>* nodes, std::size_t at, std::vector<std::size_t>* path) {
  Node& node = (*nodes)[at];
  node.mark = Node::Mark::kOpen;
  path->push_back(at);
  for (const std::size_t next : node.after) {
    const Node::Mark mark = (*nodes)[next].mark;
    if (mark == Node::Mark::kDone) continue;
    if (mark == Node::Mark::kOpen) {
      path->erase(path->begin(), std::find(path->begin(), path->end(), next));
      return true;
    }
    if (FindCycle(nodes, next, path)) return true;
  }
  path->pop_back();
  node.mark = Node::Mark::kDone;
  return false;
}

// One series in one era.
class SeriesCheck {
 public:
  SeriesCheck(const HistoryEra& era, int series, const SeenVersions& before) {
    for (const HistoryWrite& w : era.writes) {
      if (w.series == series) writes_.push_back(&w);
    }
    for (const HistoryWrite* w : writes_) {
      nodes_.push_back({Text(*w), w->invoked, w->returned, {}});
      at_[w->t].push_back(nodes_.size() - 1);
    }
    for (auto& [t, nodes] : at_) {
      std::sort(nodes.begin(), nodes.end(),
                [&](std::size_t a, std::size_t b) { return writes_[a]->version < writes_[b]->version; });
    }
    for (const auto& [t, version] : before) initial_[t] = version;
    for (const HistoryRead& r : era.reads) {
      if (r.series == series) reads_.push_back(&r);
    }
    for (const HistoryRead& r : era.reads) {
      if (r.series != series || !error_.empty()) continue;
      nodes_.push_back(
          {"read [" + std::to_string(r.invoked) + ", " + std::to_string(r.returned) + "] of series " + std::to_string(series),
           r.invoked,
           r.returned,
           {}});
      Place(r.seen, nodes_.size() - 1);
    }
    if (!error_.empty()) return;
    RealTime();
    // What was recovered is a read that may stand anywhere, but behind all that survives.
    nodes_.push_back({"what was recovered of series " + std::to_string(series), 0, kNeverReturned, {}});
    const std::size_t recovered = nodes_.size() - 1;
    const auto seen = era.recovered.find(series);
    Place(seen == era.recovered.end() ? SeenVersions{} : seen->second, recovered);
    for (std::size_t i = 0; i < writes_.size(); ++i) {
      if (writes_[i]->survives) nodes_[i].after.push_back(recovered);
    }
  }

  std::string Error() {
    if (!error_.empty()) return error_;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      std::vector<std::size_t> path;
      if (nodes_[i].mark != Node::Mark::kNew || !FindCycle(&nodes_, i, &path)) continue;
      std::string text = "no order fits, each of these must stand before the next, and the last before the first:";
      for (const std::size_t n : path) text += "\n  " + nodes_[n].text;
      return text;
    }
    return "";
  }

 private:
  std::uint64_t Initial(Timestamp t) const {
    const auto it = initial_.find(t);
    return it == initial_.end() ? 0 : it->second;
  }

  // Each write before or behind the node, by what it saw.
  void Place(const SeenVersions& seen, std::size_t node) {
    std::set<Timestamp> times;
    for (const auto& [t, version] : seen) times.insert(t);
    for (const auto& [t, version] : initial_) times.insert(t);
    for (const auto& [t, nodes] : at_) times.insert(t);
    for (const Timestamp t : times) {
      const auto it = seen.find(t);
      const auto of_t = at_.find(t);
      const std::vector<std::size_t> none;
      const std::vector<std::size_t>& writes = of_t == at_.end() ? none : of_t->second;
      // Versions after which a read sees this: one for a value, perhaps several for nothing.
      std::vector<std::uint64_t> candidates;
      if (it != seen.end()) {
        if (Initial(t) == it->second) candidates.push_back(it->second);
        for (const std::size_t w : writes) {
          if (!writes_[w]->deletes && writes_[w]->version == it->second) candidates.push_back(it->second);
        }
      } else {
        if (Initial(t) == 0) candidates.push_back(0);
        for (const std::size_t w : writes) {
          if (writes_[w]->deletes) candidates.push_back(writes_[w]->version);
        }
        std::erase_if(candidates, [&](std::uint64_t version) { return !Possible(version, writes, node); });
      }
      if (candidates.empty()) {
        error_ = nodes_[node].text + (it == seen.end() ? " lacks what is there at t " + std::to_string(t)
                                                       : " saw version " + std::to_string(it->second) + " at t " +
                                                             std::to_string(t) + ", which nobody wrote");
        for (const std::size_t w : writes) error_ += "\n  " + nodes_[w].text;
        error_ += "\n  it saw" + Text(seen);
        for (const HistoryRead* r : reads_) {
          error_ += "\n  read [" + std::to_string(r->invoked) + ", " + std::to_string(r->returned) + "] saw" + Text(r->seen);
        }
        return;
      }
      if (candidates.size() > 1)
        continue;  // seen before the first write, or behind a delete: both may be, so it constrains nothing
      for (const std::size_t w : writes) {
        if (writes_[w]->version <= candidates[0]) {
          nodes_[w].after.push_back(node);
        } else {
          nodes_[node].after.push_back(w);
        }
      }
    }
  }

  // Whether real time leaves a moment in the node's at which `version` is the newest at its timestamp.
  bool Possible(std::uint64_t version, const std::vector<std::size_t>& writes, std::size_t node) const {
    for (const std::size_t w : writes) {
      if (writes_[w]->version == version && writes_[w]->invoked > nodes_[node].returned) return false;
      if (writes_[w]->version > version && writes_[w]->returned < nodes_[node].invoked) return false;
    }
    return true;
  }

  void RealTime() {
    for (std::size_t a = 0; a < nodes_.size(); ++a) {
      for (std::size_t b = 0; b < nodes_.size(); ++b) {
        if (nodes_[a].returned < nodes_[b].invoked) nodes_[a].after.push_back(b);
      }
    }
  }

  std::vector<const HistoryRead*> reads_;
  std::vector<const HistoryWrite*> writes_;           // node i is write i; reads follow
  std::map<Timestamp, std::vector<std::size_t>> at_;  // by version
  std::map<Timestamp, std::uint64_t> initial_;
  std::vector<Node> nodes_;
  std::string error_;
};

// What of a write the recovered state tells: nullopt where another version of the same timestamp hides it.
std::optional<bool> Recovered(const HistoryEra& era, const HistoryWrite& w) {
  const auto series = era.recovered.find(w.series);
  const bool any = series != era.recovered.end() && series->second.contains(w.t);
  if (w.deletes || !any) return std::nullopt;
  return series->second.at(w.t) >= w.version;
}

// Over all series of a shard: what is gone was not written before something that is there.
std::string CheckShards(const HistoryEra& era) {
  for (const HistoryWrite& gone : era.writes) {
    if (gone.returned == kNeverReturned) continue;
    bool lost = Recovered(era, gone) == std::optional(false);
    if (!lost && !gone.deletes && !Recovered(era, gone)) {
      // Nothing is there: lost, unless it was deleted.
      lost = std::none_of(era.writes.begin(), era.writes.end(), [&](const HistoryWrite& w) {
        return w.deletes && w.series == gone.series && w.t == gone.t && w.version > gone.version;
      });
    }
    if (!lost) continue;
    for (const HistoryWrite& kept : era.writes) {
      if (kept.shard == gone.shard && gone.returned < kept.invoked && Recovered(era, kept) == std::optional(true)) {
        return "not a suffix of shard " + std::to_string(gone.shard) + ": the " + Text(gone) + " is gone, the later " + Text(kept) +
               " is there";
      }
    }
  }
  return "";
}

}  // namespace

std::string CheckHistory(const std::vector<HistoryEra>& eras) {
  std::map<int, SeenVersions> before;
  for (std::size_t i = 0; i < eras.size(); ++i) {
    const HistoryEra& era = eras[i];
    std::set<int> series;
    for (const HistoryWrite& w : era.writes) series.insert(w.series);
    for (const HistoryRead& r : era.reads) series.insert(r.series);
    for (const auto& [s, seen] : era.recovered) series.insert(s);
    for (const auto& [s, seen] : before) series.insert(s);
    for (const int s : series) {
      if (std::string error = SeriesCheck(era, s, before[s]).Error(); !error.empty())
        return "era " + std::to_string(i) + ": " + error;
    }
    if (std::string error = CheckShards(era); !error.empty()) return "era " + std::to_string(i) + ": " + error;
    before = era.recovered;
  }
  return "";
}

}  // namespace chronolith

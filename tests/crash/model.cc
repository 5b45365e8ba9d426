#include "tests/crash/model.h"

#include <algorithm>
#include <cstdlib>
#include <regex>

namespace chronolith::crash {
namespace {

void Apply(const TimeSeries* written, TimeRange deleted, Points* points) {
  if (written != nullptr) {
    for (const Sample& s : written->samples) (*points)[s.timestamp] = s.value;
  } else {
    points->erase(points->lower_bound(deleted.start), points->lower_bound(deleted.end));
  }
}

// What `found` lacks of `wanted` or has beyond it, the first few.
std::string Difference(const Points& wanted, const Points& found) {
  std::string text;
  int shown = 0;
  const auto show = [&](const char* what, Timestamp t, double value) {
    if (++shown <= 4) text += std::string(" ") + what + " " + std::to_string(t - kT) + "=" + std::to_string(value);
  };
  for (const auto& [t, value] : wanted) {
    const auto it = found.find(t);
    if (it == found.end()) {
      show("missing", t, value);
    } else if (it->second != value) {
      show("other value", t, it->second);
    }
  }
  for (const auto& [t, value] : found) {
    if (!wanted.contains(t)) show("extra", t, value);
  }
  return text + " (" + std::to_string(shown) + " differences)";
}

// Matchers by their definition: nothing of the index is asked.
class Reference {
 public:
  explicit Reference(const std::vector<Matcher>& matchers) {
    for (const Matcher& m : matchers) {
      const bool regex = m.type == Matcher::Type::kRegex || m.type == Matcher::Type::kNotRegex;
      matchers_.emplace_back(m, regex ? m.value : "");
    }
  }
  bool Matches(const Labels& labels) const {
    return std::all_of(matchers_.begin(), matchers_.end(), [&](const auto& one) {
      const auto& [m, regex] = one;
      const std::string value(labels.Get(m.name));
      switch (m.type) {
        case Matcher::Type::kEqual:
          return value == m.value;
        case Matcher::Type::kNotEqual:
          return value != m.value;
        case Matcher::Type::kRegex:
          return std::regex_match(value, regex);
        case Matcher::Type::kNotRegex:
          return !std::regex_match(value, regex);
      }
      return false;
    });
  }

 private:
  std::vector<std::pair<Matcher, std::regex>> matchers_;
};

std::string Text(const std::vector<Matcher>& matchers) {
  std::string text;
  for (const Matcher& m : matchers) text += (text.empty() ? "{" : ",") + m.ToString();
  return text + "}";
}

// Every form of matcher, over all names and values that there are and some that there are not.
std::vector<std::vector<Matcher>> MatchersFor(const std::map<std::string, std::set<std::string>>& values) {
  std::vector<std::vector<Matcher>> all;
  for (const auto& [name, of_name] : values) {
    const std::string some = *of_name.begin();
    const std::string other = *of_name.rbegin();
    for (const std::string& value : of_name) {
      all.push_back({Matcher::Equal(name, value)});
      all.push_back({Matcher::NotEqual(name, value)});
      all.push_back({Matcher::Equal(name, value), Matcher::NotRegex(kOwner, "w0|w2")});
    }
    all.push_back({Matcher::Equal(name, "")});
    all.push_back({Matcher::NotEqual(name, "")});
    all.push_back({Matcher::Equal(name, "nowhere")});
    all.push_back({Matcher::Regex(name, ".+")});
    all.push_back({Matcher::Regex(name, ".*")});
    all.push_back({Matcher::NotRegex(name, ".+")});
    all.push_back({Matcher::Regex(name, some + "|" + other + "|nowhere")});
    all.push_back({Matcher::Regex(name, some.substr(0, some.size() - 1) + ".*")});
    all.push_back({Matcher::NotRegex(name, some.substr(0, 1) + ".*")});
    all.push_back({Matcher::Regex(name, "(" + other + ")?")});
  }
  all.push_back({Matcher::Equal("nobody", "nowhere")});
  all.push_back({Matcher::Equal("nobody", "")});
  return all;
}

}  // namespace

Result<Contents> ReadAll(Storage* store) {
  Contents contents;
  auto set = store->Select({}, {});
  if (!set.ok()) return set.status();
  while ((*set)->Next()) {
    Points& points = contents[(*set)->labels()];
    if (!points.empty()) return DataLoss("series twice in one answer: " + (*set)->labels().ToString());
    SampleIterator& samples = (*set)->samples();
    const bool histograms = IsHistogram((*set)->labels());
    for (ValueType type = samples.Next(); type != ValueType::kNone; type = samples.Next()) {
      const std::string place = (*set)->labels().ToString() + " at " + std::to_string(samples.timestamp() - kT);
      if (!points.empty() && points.rbegin()->first >= samples.timestamp()) return DataLoss(place + ": timestamps do not ascend");
      if (histograms == (type == ValueType::kFloat)) return DataLoss(place + ": a value of the wrong type");
      double value = 0;
      if (histograms) {
        value = std::visit([](const auto& histogram) { return histogram.sum; }, samples.histogram());
        if (samples.histogram() != HistogramOf(value)) return DataLoss(place + ": a histogram that nobody wrote");
      } else {
        value = samples.value();
      }
      points[samples.timestamp()] = value;
    }
    if (!samples.status().ok()) return samples.status();
  }
  if (!(*set)->status().ok()) return (*set)->status();
  std::erase_if(contents, [](const auto& series) { return series.second.empty(); });
  return contents;
}

void Model::OnMessage(const Message& message) {
  ++messages_;
  if (message.kind == Message::Kind::kClosed) closed_ = true;
  if (message.kind == Message::Kind::kSend) {
    next_[message.thread] = message.number + 1;
    Sent& sent = sent_[message.thread].emplace_back();
    sent.thread = message.thread;
    sent.number = message.number;
    sent.op = PlanOp(seed_, message.thread, message.number);
    sent.sent_at = messages_;
    for (const TimeSeries& series : sent.op.series) ever_sent_.insert(series.labels);
  }
  if (message.kind == Message::Kind::kDone) sent_[message.thread].back().done_at = messages_;
}

std::string Model::InFlight() const {
  std::string text;
  for (const auto& of_thread : sent_) {
    if (of_thread.empty() || of_thread.back().done_at != 0) continue;
    const Sent& sent = of_thread.back();
    text += (text.empty() ? "" : "; ") + (sent.thread == kUpkeep ? "upkeep" : "w" + std::to_string(sent.thread)) + " #" +
            std::to_string(sent.number) + " " + sent.op.ToString();
  }
  return text.empty() ? "nothing" : text;
}

void Model::DecidePromises() {
  std::uint64_t reached = 0;  // what was acknowledged before this message is promised
  for (const auto& of_thread : sent_) {
    for (const Sent& sent : of_thread) {
      if (sent.done_at != 0 && sent.op.level >= AckLevel::kLogged) reached = std::max(reached, sent.sent_at);
    }
  }
  for (auto& of_thread : sent_) {
    for (Sent& sent : of_thread) {
      if (sent.done_at == 0) continue;
      sent.promised = sent.op.level >= AckLevel::kLogged || sent.done_at < reached || closed_;
      if (!sent.promised) continue;
      for (const TimeSeries& series : sent.op.series) promised_total_ += series.samples.size();
    }
  }
}

std::map<Labels, std::vector<Model::Event>> Model::EventsBySeries() const {
  std::map<Labels, std::vector<Event>> events;
  for (const auto& of_thread : sent_) {
    for (const Sent& sent : of_thread) {
      for (const TimeSeries& series : sent.op.series) events[series.labels].push_back({&series, {}, sent.promised});
      if (sent.op.kind != Op::Kind::kDelete) continue;
      const Reference reference(sent.op.matchers);
      for (const Labels& labels : ever_sent_) {
        if (reference.Matches(labels)) events[labels].push_back({nullptr, sent.op.range, sent.promised});
      }
    }
  }
  return events;
}

void Model::CheckOwn(const Labels& labels, const std::vector<Event>& events, const Points& found,
                     std::vector<std::string>* problems) {
  std::size_t promised = events.size();
  while (promised > 0 && !events[promised - 1].promised) --promised;
  Points points = contents_[labels];
  for (std::size_t i = 0; i < promised; ++i) Apply(events[i].written, events[i].deleted, &points);
  const Points least = points;
  for (std::size_t i = promised; points != found; ++i) {
    if (i == events.size()) {
      problems->push_back(labels.ToString() +
                          " holds no beginning of what was sent, against what was promised:" + Difference(least, found));
      return;
    }
    Apply(events[i].written, events[i].deleted, &points);
  }
}

void Model::CheckShared(const Labels& labels, const std::vector<Event>& events, const Points& found,
                        std::vector<std::string>* problems) {
  Points least = contents_[labels];
  Points most = least;
  for (const Event& event : events) {
    Apply(event.written, {}, &most);
    if (event.promised) Apply(event.written, {}, &least);
  }
  const auto all_in = [](const Points& some, const Points& all) {
    return std::all_of(some.begin(), some.end(), [&](const auto& point) {
      const auto it = all.find(point.first);
      return it != all.end() && it->second == point.second;
    });
  };
  if (!all_in(least, found)) problems->push_back(labels.ToString() + " lacks promised samples:" + Difference(least, found));
  if (!all_in(found, most)) problems->push_back(labels.ToString() + " holds samples never sent:" + Difference(most, found));
}

// What was written in one record with the histograms that are there is there as well.
void Model::CheckItems(Storage* store, const Labels& labels, const Points& found, std::vector<std::string>* problems) const {
  const Result<std::vector<Exemplar>> exemplars = store->Exemplars(labels, {});
  if (!exemplars.ok()) return problems->push_back(labels.ToString() + ", exemplars: " + exemplars.status().ToString());
  std::map<Timestamp, std::set<double>> values;  // several at one time where it was written again
  for (const Exemplar& e : *exemplars) {
    const std::string place = labels.ToString() + ", exemplar " + std::to_string(e.timestamp - kT) + "=" + std::to_string(e.value);
    if (!values[e.timestamp].insert(e.value).second) problems->push_back(place + " is there twice");
    if (!found.contains(e.timestamp)) problems->push_back(place + " without a histogram");
    if (e.labels != Labels{{"trace", std::to_string(e.value)}}) problems->push_back(place + " has other labels");
  }
  for (const auto& [t, value] : found) {
    if (values[t].contains(value)) continue;
    problems->push_back(labels.ToString() + " at " + std::to_string(t - kT) + " lacks its exemplar " + std::to_string(value));
  }
  const Result<std::optional<Metadata>> metadata = store->SeriesMetadata(labels);
  if (!metadata.ok()) return problems->push_back(labels.ToString() + ", metadata: " + metadata.status().ToString());
  if (!*metadata) return problems->push_back(labels.ToString() + " lacks its metadata");
  const double last = std::strtod((*metadata)->help.c_str(), nullptr);
  if ((*metadata)->type != MetricType::kHistogram || (*metadata)->unit != "ms")
    problems->push_back(labels.ToString() + " has other metadata");
  if (labels.Get(kOwner) != kChecker && NumberOf(last) >= next_[ThreadOf(last)])
    problems->push_back(labels.ToString() + " has metadata never sent");
  for (const auto& [t, value] : found) {
    if (ThreadOf(value) == ThreadOf(last) && value > last)
      return problems->push_back(labels.ToString() + " has metadata older than the histogram " + std::to_string(value));
  }
}

std::vector<std::string> Model::Check(Storage* store) {
  std::vector<std::string> problems;
  DecidePromises();
  Result<Contents> found = ReadAll(store);
  if (!found.ok()) return {"cannot be read: " + found.status().ToString()};
  std::map<Labels, std::vector<Event>> events = EventsBySeries();
  for (const auto& [labels, points] : contents_) events[labels];
  for (const auto& [labels, points] : *found) {
    if (!ever_sent_.contains(labels)) problems.push_back("series never sent: " + labels.ToString());
  }
  unpromised_ = unpromised_found_ = 0;
  for (const auto& [labels, of_series] : events) {
    const auto it = found->find(labels);
    const Points points = it == found->end() ? Points() : it->second;
    (labels.Get(kOwner) == kShared ? CheckShared(labels, of_series, points, &problems)
                                   : CheckOwn(labels, of_series, points, &problems));
    if (IsHistogram(labels) && !points.empty()) CheckItems(store, labels, points, &problems);
    for (const Event& event : of_series) {
      if (event.promised || event.written == nullptr) continue;
      unpromised_ += event.written->samples.size();
      for (const Sample& s : event.written->samples) {
        const auto at = points.find(s.timestamp);
        unpromised_found_ += at != points.end() && at->second == s.value ? 1 : 0;
      }
    }
  }
  CheckIndex(store, *found, &problems);
  contents_ = std::move(*found);
  for (auto& of_thread : sent_) of_thread.clear();
  closed_ = false;
  return problems;
}

void Model::Add(const TimeSeries& series) {
  ever_sent_.insert(series.labels);
  Apply(&series, {}, &contents_[series.labels]);
}

// Every look-up against a scan of all series.
void Model::CheckIndex(Storage* store, const Contents& found, std::vector<std::string>* problems) {
  const Result<Lookup<Labels>> all = store->Series({});
  if (!all.ok()) return problems->push_back("no series can be listed: " + all.status().ToString());
  std::map<std::string, std::set<std::string>> values;
  for (const Labels& labels : all->values) {
    if (!ever_sent_.contains(labels)) problems->push_back("the index has a series never sent: " + labels.ToString());
    for (const Label& label : labels) values[std::string(label.name)].emplace(label.value);
  }
  for (const auto& [labels, points] : found) {
    if (std::find(all->values.begin(), all->values.end(), labels) == all->values.end())
      problems->push_back("the index lacks " + labels.ToString());
  }
  for (const std::vector<Matcher>& matchers : MatchersFor(values)) {
    const Result<Lookup<Labels>> some = store->Series(matchers);
    const Reference reference(matchers);
    std::vector<Labels> wanted;
    for (const Labels& labels : all->values) {
      if (reference.Matches(labels)) wanted.push_back(labels);
    }
    if (!some.ok()) {
      problems->push_back(Text(matchers) + ": " + some.status().ToString());
    } else if (some->values != wanted) {
      problems->push_back(Text(matchers) + " finds " + std::to_string(some->values.size()) + " series, a scan " +
                          std::to_string(wanted.size()));
    }
  }
  std::vector<std::string> names;
  for (const auto& [name, of_name] : values) {
    names.push_back(name);
    const Result<Lookup<std::string>> listed = store->LabelValues(name, {});
    if (!listed.ok() || listed->values != std::vector<std::string>(of_name.begin(), of_name.end()))
      problems->push_back("the values of " + name + " are not those of all series");
  }
  const Result<Lookup<std::string>> listed = store->LabelNames({});
  if (!listed.ok() || listed->values != names) problems->push_back("the names are not those of all series");

  std::set<std::uint64_t> ids;
  for (const Labels& labels : all->values) {
    std::vector<Matcher> matchers;
    for (const Label& label : labels) matchers.push_back(Matcher::Equal(std::string(label.name), std::string(label.value)));
    const Result<std::vector<SeriesRef>> refs = store->SeriesIds(matchers);
    if (!refs.ok() || refs->size() != 1) {
      problems->push_back(labels.ToString() + " has " + (refs.ok() ? std::to_string(refs->size()) : "no") + " ids");
      continue;
    }
    const std::uint64_t id = refs->front().id;
    if (!ids.insert(id).second) problems->push_back("two series have id " + std::to_string(id));
    const auto [it, is_new] = ids_.emplace(id, labels);
    if (!is_new && it->second != labels)
      problems->push_back("id " + std::to_string(id) + " was " + it->second.ToString() + " and is " + labels.ToString());
  }
}

}  // namespace chronolith::crash

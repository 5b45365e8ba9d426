// The page of `inspect --html`: one file, nothing loaded from elsewhere, no script; all text of the store's is escaped.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "interop/time_text.h"
#include "tools/cli/inspect.h"
#include "tools/cli/output.h"

namespace chronolith::cli {
namespace {

constexpr int kWidth = 960;         // of all drawings
constexpr int kRow = 26;            // height of a row of bars
constexpr std::size_t kCells = 96;  // columns of the window map at most

constexpr std::string_view kStyle = R"css(
:root{color-scheme:light dark;--bg:#f5f6f8;--card:#fff;--ink:#1c2430;--soft:#5b6675;--line:#e3e7ec;--track:#eef1f4;
--a:#3b6fd4;--b:#2a9d8f;--c:#d98a1f;--d:#c8453c}
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1a2029;--ink:#e4e9f0;--soft:#97a3b3;--line:#2b3440;--track:#232b36;
--a:#6d9bf5;--b:#4fc3b3;--c:#e8a84b;--d:#ef7a70}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 20px 56px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:17px;margin:0 0 2px}
p{margin:0 0 14px;color:var(--soft)}
section,.tile{background:var(--card);border:1px solid var(--line);border-radius:10px}
section{padding:20px 20px 18px;margin-top:18px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-top:20px}
.tile{padding:12px 16px}.tile b{display:block;font-size:21px;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
svg{display:block;width:100%;height:auto;font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
text{fill:var(--ink);font-variant-numeric:tabular-nums}.s{fill:var(--soft)}
.a{fill:var(--a)}.b{fill:var(--b)}.c{fill:var(--c)}.d{fill:var(--d)}.t{fill:var(--track)}.l{stroke:var(--line)}
.key{display:flex;flex-wrap:wrap;gap:6px 18px;margin:0 0 12px;font-size:13px;color:var(--soft)}
.key i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}
.warn{border-left:4px solid var(--d)}ul{margin:6px 0 0;padding-left:20px}li{overflow-wrap:anywhere}
h3{font-size:14px;margin:18px 0 6px}footer{margin-top:20px;color:var(--soft);font-size:13px}
)css";

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

// At most `columns` characters, the end cut at a whole one.
std::string Shortened(std::string_view text, std::size_t columns) {
  std::size_t n = 0;
  std::size_t cut = text.size();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (n + 1 == columns) cut = i;
    if (++n > columns) return std::string(text.substr(0, cut)) + "…";
  }
  return std::string(text);
}

std::string Count(std::uint64_t n) {  // 1 234 567
  std::string text = std::to_string(n);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, " ");
  return text;
}

class Svg {
 public:
  explicit Svg(int height, std::string_view what)
      : out_("<svg viewBox=\"0 0 " + std::to_string(kWidth) + " " + std::to_string(height) + "\" role=\"img\" aria-label=\"" +
             Escaped(what) + "\">\n") {}
  void Rect(double x, double y, double w, double h, std::string_view fill, std::string_view title = {}, double opacity = 1) {
    out_ += "<rect x=\"" + F(x) + "\" y=\"" + F(y) + "\" width=\"" + F(w) + "\" height=\"" + F(h) + "\" class=\"";
    out_.append(fill).append("\"");
    if (h >= 8 && w >= 4) out_ += " rx=\"2\"";
    if (opacity < 1) out_ += " fill-opacity=\"" + FixedPoint(opacity, 2) + "\"";
    out_ += title.empty() ? "/>\n" : "><title>" + Escaped(title) + "</title></rect>\n";
  }
  // `anchor`: start, middle, end.
  void Text(double x, double y, std::string_view text, std::string_view anchor = "start", bool soft = false,
            std::string_view title = {}) {
    out_ += "<text x=\"" + F(x) + "\" y=\"" + F(y) + "\"";
    if (anchor != "start") out_.append(" text-anchor=\"").append(anchor).append("\"");
    out_ += soft ? " class=\"s\">" : ">";
    if (!title.empty()) out_ += "<title>" + Escaped(title) + "</title>";
    out_ += Escaped(text) + "</text>\n";
  }
  void Line(double x1, double y1, double x2, double y2) {
    out_ += "<line class=\"l\" x1=\"" + F(x1) + "\" y1=\"" + F(y1) + "\" x2=\"" + F(x2) + "\" y2=\"" + F(y2) + "\"/>\n";
  }
  std::string End() { return out_ + "</svg>\n"; }

 private:
  static std::string F(double v) { return FixedPoint(v, 1); }
  std::string out_;
};

struct Part {
  double value;
  const char* fill;
  std::string what;
};
struct Bar {
  std::string label;
  std::vector<Part> parts;
  std::string text;  // behind the bar
};

// Rows of a label, a bar of parts and a figure; the figures' column is to the right of the longest bar.
std::string Bars(const std::vector<Bar>& bars, std::string_view what, int label_width) {
  const double from = label_width;
  const double room = kWidth - label_width - 190;
  double most = 0;
  for (const Bar& bar : bars) {
    double sum = 0;
    for (const Part& part : bar.parts) sum += part.value;
    most = std::max(most, sum);
  }
  Svg svg(static_cast<int>(bars.size()) * kRow, what);
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const double y = static_cast<double>(i) * kRow;
    svg.Text(0, y + 17, Shortened(bars[i].label, static_cast<std::size_t>(label_width / 7.6)), "start", false, bars[i].label);
    svg.Rect(from, y + 5, room, kRow - 10, "t");
    double x = from;
    for (const Part& part : bars[i].parts) {
      if (part.value <= 0) continue;
      const double w = std::max(1.0, room * part.value / most);
      svg.Rect(x, y + 5, w, kRow - 10, part.fill, part.what);
      x += w;
    }
    svg.Text(from + room + 12, y + 17, bars[i].text, "start", true);
  }
  return svg.End();
}

std::string Key(const std::vector<std::pair<const char*, std::string>>& entries) {
  std::string out = "<div class=\"key\">";
  for (const auto& [color, name] : entries)
    out += std::string("<span><i style=\"background:var(--") + color + ")\"></i>" + Escaped(name) + "</span>";
  return out + "</div>\n";
}

std::string Section(std::string_view title, std::string_view words, const std::string& content, std::string_view extra = {}) {
  std::string out = "<section" + std::string(extra) + "><h2>" + Escaped(title) + "</h2>\n";
  if (!words.empty()) out += "<p>" + Escaped(words) + "</p>\n";
  return out + content + "</section>\n";
}

class Page {
 public:
  Page(const ops::OfflineStore& store, const ops::InspectReport& report, const ops::CardinalityReport& cardinality)
      : store_(store), report_(report), cardinality_(cardinality) {}

  std::string Build() const {
    std::string out = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n";
    out +=
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>" + Escaped(store_.path()) + "</title>\n";
    out.append("<style>").append(kStyle).append("</style></head>\n<body><main>\n");
    out += Head() + Problems() + Shards() + Pins() + Windows() + Cardinality() + Churn() + ChunkSizes();
    out += "<footer>Read from the files at " + Escaped(interop::FormatTime(report_.now_ms)) +
           ". Series, samples and chunks in tables are those of the last checkpoint; times are UTC.</footer>\n";
    return out + "</main></body></html>\n";
  }

 private:
  std::string Head() const {
    const StoreManifest& m = store_.manifest();
    std::uint64_t tables = 0;
    std::uint64_t samples = 0;
    for (const FamilyStats& f : report_.data.families) tables += f.file_bytes;
    for (const ops::ShardUse& s : report_.shards) samples += s.samples;
    std::string out = "<h1>" + Escaped(store_.path()) + "</h1>\n<p>Store " + m.UuidHex() + ", " + std::to_string(m.shards) +
                      " shards, windows of " + HumanAge(m.window_ms) + ", engine " + Escaped(m.engine) +
                      "</p>\n<div class=\"tiles\">";
    const auto tile = [&](const std::string& figure, const char* what) {
      out += "<div class=\"tile\"><b>" + Escaped(figure) + "</b><span>" + what + "</span></div>\n";
    };
    tile(AtLeast(cardinality_.complete()) + Count(cardinality_.series), "series");
    tile(AtLeast(report_.complete()) + HumanCount(static_cast<double>(samples)), "samples in tables");
    tile(HumanBytes(tables), "tables");
    tile(HumanBytes(report_.log.log_bytes), "log files");
    tile(HumanBytes(report_.PinnedBytes()), "kept in the log");
    tile(Count(report_.windows.size()), "windows");
    return out + "</div>\n";
  }

  static std::string AtLeast(bool complete) { return complete ? "" : "≥ "; }

  std::string Problems() const {
    const std::vector<std::string> problems = ProblemsOf(report_, cardinality_);
    if (problems.empty()) return "";
    std::string list = "<ul>";
    for (const std::string& problem : problems) list += "<li>" + Escaped(problem) + "</li>";
    return Section("Problems",
                   "What could not be read is in no figure of this page: those with ≥, and all of windows, churn and chunk sizes, "
                   "are lower bounds.",
                   list + "</ul>", " class=\"warn\"");
  }

  std::uint64_t TableBytes(const std::string& family) const {
    for (const FamilyStats& f : report_.data.families) {
      if (f.name == family) return f.file_bytes;
    }
    return 0;
  }

  std::string Shards() const {
    std::vector<Bar> bars;
    for (const ops::ShardUse& s : report_.shards) {
      const std::string name = std::to_string(s.shard);
      const std::uint64_t index = TableBytes("index." + name);
      const std::uint64_t chunk = TableBytes("chunk." + name);
      const ops::ShardCardinality& counted = cardinality_.shards[s.shard];
      const bool complete = s.condition.complete() && counted.condition.complete();
      bars.push_back({"shard " + name + (complete ? "" : " damaged"),
                      {{static_cast<double>(chunk), "a", "chunks: " + HumanBytes(chunk)},
                       {static_cast<double>(index), "b", "index: " + HumanBytes(index)},
                       {static_cast<double>(s.log_bytes), "c", "rows of the log: " + HumanBytes(s.log_bytes)}},
                      HumanBytes(index + chunk + s.log_bytes) + ", " + AtLeast(complete) + Count(counted.series) + " series"});
    }
    const std::string words = "Fullest shard over the mean: " + FixedPoint(cardinality_.SeriesSkew(), 2) + " in series, " +
                              FixedPoint(cardinality_.SampleSkew(), 2) + " in stored samples.";
    return Section("Shards", words,
                   Key({{"a", "chunks"}, {"b", "index"}, {"c", "rows of the log"}}) + Bars(bars, "bytes by shard", 130));
  }

  std::string Pins() const {
    if (report_.pins.empty()) return Section("What keeps the log", WithoutPins(report_, store_.log() != nullptr), "");
    const std::int64_t begin = report_.pins.front().since_ms;
    const std::int64_t end = std::max(report_.now_ms, begin + 1);
    const double from = 130;
    const double room = kWidth - from - 190;
    const auto at = [&](std::int64_t ms) {
      return from + room * static_cast<double>(std::clamp(ms, begin, end) - begin) / static_cast<double>(end - begin);
    };
    static constexpr const char* kFill[] = {"a", "b", "d"};
    std::vector<const ops::LogPin*> pins;
    for (const ops::LogPin& pin : report_.pins) pins.push_back(&pin);
    std::stable_sort(pins.begin(), pins.end(), [](const auto* a, const auto* b) { return a->shard < b->shard; });
    const double height = static_cast<double>(pins.size()) * kRow;
    Svg svg(static_cast<int>(height) + 26, "rows of the log that are kept, by time of writing");
    double y = 0;
    for (const ops::LogPin* pin : pins) {
      svg.Text(0, y + 17, "shard " + std::to_string(pin->shard));
      svg.Rect(from, y + 5, room, kRow - 10, "t");
      const double x = std::min(at(pin->since_ms), from + room - 3);
      svg.Rect(x, y + 5, std::max(3.0, at(pin->newest_ms) - x), kRow - 10, kFill[static_cast<int>(pin->reason)],
               std::string(NameOf(pin->reason)) + ": LSN " + std::to_string(pin->first_lsn) + " to " +
                   std::to_string(pin->last_lsn) + ", written from " + interop::FormatTime(pin->since_ms) + " to " +
                   interop::FormatTime(pin->newest_ms));
      svg.Text(from + room + 12, y + 17, HumanBytes(pin->bytes) + " since " + HumanAge(report_.now_ms - pin->since_ms), "start",
               true);
      y += kRow;
    }
    svg.Line(from, height + 4, from + room, height + 4);
    svg.Text(from, height + 21, interop::FormatTime(begin), "start", true);
    svg.Text(from + room, height + 21, "now", "end", true);
    std::string releases = "<ul>";
    for (const ops::PinReason reason : {ops::PinReason::kNotStored, ops::PinReason::kNotTrimmed, ops::PinReason::kQuarantined}) {
      std::uint64_t bytes = 0;
      for (const ops::LogPin& pin : report_.pins) bytes += pin.reason == reason ? pin.bytes : 0;
      if (bytes == 0) continue;
      releases += "<li><b>" + Escaped(NameOf(reason)) + "</b>, " + HumanBytes(bytes) + ": released by " +
                  Escaped(ReleaseOf(reason)) + ".</li>";
    }
    return Section(
        "What keeps the log",
        "Rows of the log that are still there, by when they were written. A file of the log goes when no shard needs a row "
        "in it any more.",
        Key({{"a", "not stored"}, {"b", "stored, not trimmed"}, {"d", "shard quarantined"}}) + svg.End() + releases + "</ul>");
  }

  // Windows side by side; several to a column where there are many.
  struct Column {
    Timestamp start = 0;
    std::uint64_t bytes = 0, chunks = 0, samples = 0, active = 0, fresh = 0;
    std::map<std::uint32_t, std::uint64_t> shards;
  };
  std::vector<Column> Columns() const {
    if (report_.windows.empty()) return {};
    const Timestamp window = std::max<std::int64_t>(store_.manifest().window_ms, 1);
    const Timestamp first = report_.windows.begin()->first;
    const auto all = static_cast<std::uint64_t>(report_.windows.rbegin()->first - first) / static_cast<std::uint64_t>(window) + 1;
    const std::uint64_t each = (all + kCells - 1) / kCells;
    std::vector<Column> columns((all + each - 1) / each);
    for (std::size_t i = 0; i < columns.size(); ++i) columns[i].start = first + static_cast<std::int64_t>(i * each) * window;
    const auto of = [&](Timestamp t) -> Column* {
      const std::uint64_t i = static_cast<std::uint64_t>(t - first) / static_cast<std::uint64_t>(window) / each;
      return t >= first && i < columns.size() ? &columns[i] : nullptr;
    };
    for (const auto& [start, w] : report_.windows) {
      Column* c = of(start);
      c->bytes += w.bytes;
      c->chunks += w.chunks;
      c->samples += w.samples;
      for (const auto& [shard, bytes] : w.shard_bytes) c->shards[shard] += bytes;
    }
    for (const auto& [start, w] : cardinality_.windows) {
      Column* c = of(start);
      if (c == nullptr) continue;
      c->active = std::max(c->active, w.active);
      c->fresh += w.first;
    }
    return columns;
  }

  static void TimeAxis(Svg* svg, const std::vector<Column>& columns, double from, double step, double y) {
    const double to = from + step * static_cast<double>(columns.size());
    svg->Text(from, y, WindowName(columns.front().start), "start", true);
    if (to - from > 420) svg->Text((from + to) / 2, y, WindowName(columns[columns.size() / 2].start), "middle", true);
    if (to - from > 260) svg->Text(to, y, WindowName(columns.back().start), "end", true);
  }

  std::string Windows() const {
    const std::vector<Column> columns = Columns();
    if (columns.empty()) return Section("Windows", "No chunk is stored yet.", "");
    constexpr double kFrom = 130;
    constexpr double kChart = 110;
    constexpr double kCell = 17;
    const double step = std::min(44.0, (kWidth - kFrom) / static_cast<double>(columns.size()));
    const double gap = step > 6 ? 2 : 0.5;
    std::uint64_t most = 1;
    std::uint64_t most_cell = 1;
    for (const Column& c : columns) {
      most = std::max(most, c.bytes);
      for (const auto& [shard, bytes] : c.shards) most_cell = std::max(most_cell, bytes);
    }
    const double top = kChart + 16;
    const double bottom = top + kCell * store_.shards();
    Svg svg(static_cast<int>(bottom) + 26, "stored bytes by window and shard");
    svg.Text(0, 14, "all shards");
    svg.Text(0, 32, "up to " + HumanBytes(most), "start", true);
    svg.Line(kFrom, kChart, kFrom + step * static_cast<double>(columns.size()), kChart);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const Column& c = columns[i];
      const double x = kFrom + step * static_cast<double>(i);
      const double h = c.bytes == 0 ? 0 : std::max(1.0, (kChart - 6) * static_cast<double>(c.bytes) / static_cast<double>(most));
      if (h > 0) {
        svg.Rect(x, kChart - h, step - gap, h, "a",
                 WindowName(c.start) + ": " + HumanBytes(c.bytes) + ", " + Count(c.chunks) + " chunks, " + Count(c.samples) +
                     " samples");
      }
      for (ShardId shard = 0; shard < store_.shards(); ++shard) {
        const auto bytes = c.shards.find(shard);
        const double y = top + kCell * shard;
        if (bytes == c.shards.end()) {
          svg.Rect(x, y, step - gap, kCell - 2, "t");
        } else {
          svg.Rect(x, y, step - gap, kCell - 2, "a",
                   "shard " + std::to_string(shard) + ", " + WindowName(c.start) + ": " + HumanBytes(bytes->second),
                   0.15 + 0.85 * static_cast<double>(bytes->second) / static_cast<double>(most_cell));
        }
      }
    }
    for (const ops::ShardUse& s : report_.shards)
      svg.Text(0, top + kCell * s.shard + 12, "shard " + std::to_string(s.shard) + (s.condition.complete() ? "" : " damaged"));
    TimeAxis(&svg, columns, kFrom, step, bottom + 18);
    return Section("Windows",
                   "Stored chunks by time window. Above in all, below by shard: the fuller, the stronger the colour (up to " +
                       HumanBytes(most_cell) + ").",
                   svg.End());
  }

  std::string Cardinality() const {
    const auto share = [&](std::uint64_t series) {
      return Count(series) + " series (" +
             FixedPoint(
                 cardinality_.series == 0 ? 0 : 100.0 * static_cast<double>(series) / static_cast<double>(cardinality_.series), 1) +
             " %)";
    };
    std::vector<Bar> metrics;
    for (const ops::PairCount& m : cardinality_.metrics)
      metrics.push_back({m.value, {{static_cast<double>(m.series), "a", m.value}}, share(m.series)});
    std::vector<Bar> values;
    for (const ops::NameCount& n : cardinality_.names_by_values) {
      values.push_back(
          {n.name, {{static_cast<double>(n.values), "b", n.name}}, Count(n.values) + (n.values == 1 ? " value" : " values")});
    }
    std::vector<Bar> pairs;
    for (const ops::PairCount& p : cardinality_.pairs) {
      const std::string text = p.name + " = " + p.value;
      pairs.push_back({text, {{static_cast<double>(p.series), "c", text}}, share(p.series)});
    }
    std::string words = Count(cardinality_.label_names) + " label names, " + Count(cardinality_.label_pairs) +
                        " pairs of name and value; " + Count(cardinality_.log_series) + " series are only in the log yet.";
    if (cardinality_.log_series_left_out > 0)
      words += " For want of memory " + Count(cardinality_.log_series_left_out) + " of these are in none of the figures by label.";
    const std::string content = metrics.empty() && values.empty()
                                    ? ""
                                    : "<h3>Metrics by series</h3>\n" + Bars(metrics, "metrics by series", 330) +
                                          "<h3>Label names by values</h3>\n" + Bars(values, "label names by values", 330) +
                                          "<h3>Label values by series</h3>\n" + Bars(pairs, "label values by series", 330);
    return Section("Cardinality", words, content);
  }

  std::string Churn() const {
    const std::vector<Column> columns = Columns();
    if (columns.empty() || cardinality_.windows.empty()) return "";
    constexpr double kFrom = 130;
    constexpr double kChart = 130;
    const double step = std::min(44.0, (kWidth - kFrom) / static_cast<double>(columns.size()));
    const double gap = step > 6 ? 2 : 0.5;
    std::uint64_t most = 1;
    for (const Column& c : columns) most = std::max({most, c.active, c.fresh});
    Svg svg(static_cast<int>(kChart) + 26, "series by window");
    svg.Text(0, 14, "up to");
    svg.Text(0, 32, Count(most), "start", true);
    svg.Line(kFrom, kChart, kFrom + step * static_cast<double>(columns.size()), kChart);
    const auto height = [&](std::uint64_t n) { return (kChart - 6) * static_cast<double>(n) / static_cast<double>(most); };
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const Column& c = columns[i];
      const double x = kFrom + step * static_cast<double>(i);
      const std::string title = WindowName(c.start) + ": " + Count(c.active) + " active, " + Count(c.fresh) + " new";
      if (c.active > 0) svg.Rect(x, kChart - height(c.active), step - gap, height(c.active), "b", title, 0.45);
      if (c.fresh > 0) svg.Rect(x, kChart - height(c.fresh), step - gap, height(c.fresh), "c", title);
    }
    TimeAxis(&svg, columns, kFrom, step, kChart + 18);
    return Section(
        "Series that come",
        "By the windows of stored chunks: series with chunks in a window, and those that have none before it. In the first "
        "window all are new.",
        Key({{"b", "active"}, {"c", "new"}}) + svg.End());
  }

  std::string ChunkSizes() const {
    std::uint64_t most = 0;
    std::size_t first = ops::kChunkClasses;
    std::size_t last = 0;
    for (std::size_t i = 0; i < ops::kChunkClasses; ++i) {
      if (report_.chunk_classes[i].chunks == 0) continue;
      most = std::max(most, report_.chunk_classes[i].chunks);
      first = std::min(first, i);
      last = i;
    }
    if (most == 0) return "";
    constexpr double kChart = 170;
    const double step = std::min(110.0, static_cast<double>(kWidth) / static_cast<double>(last - first + 1));
    Svg svg(static_cast<int>(kChart) + 30, "chunks by size");
    svg.Line(0, kChart, step * static_cast<double>(last - first + 1), kChart);
    for (std::size_t i = first; i <= last; ++i) {
      const ops::ChunkClass& c = report_.chunk_classes[i];
      const double x = step * static_cast<double>(i - first);
      const double h = (kChart - 26) * static_cast<double>(c.chunks) / static_cast<double>(most);
      if (c.chunks > 0) {
        svg.Rect(x + 5, kChart - std::max(h, 1.0), step - 10, std::max(h, 1.0), "a",
                 Count(c.chunks) + " chunks, " + HumanBytes(c.bytes) + ", " + Count(c.samples) + " samples");
        svg.Text(x + step / 2, kChart - h - 7, HumanCount(static_cast<double>(c.chunks)), "middle");
      }
      const std::uint64_t end = ops::ChunkClassEnd(i);
      svg.Text(x + step / 2, kChart + 19, "≤ " + (end < 1024 ? std::to_string(end) + " B" : std::to_string(end / 1024) + " KiB"),
               "middle", true);
    }
    return Section("Chunks by size", "How many stored chunks have a row of up to so many bytes.", svg.End());
  }

  const ops::OfflineStore& store_;
  const ops::InspectReport& report_;
  const ops::CardinalityReport& cardinality_;
};

}  // namespace

std::string InspectPage(const ops::OfflineStore& store, const ops::InspectReport& report,
                        const ops::CardinalityReport& cardinality) {
  return Page(store, report, cardinality).Build();
}

}  // namespace chronolith::cli

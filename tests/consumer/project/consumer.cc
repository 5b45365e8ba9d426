// What a host does: open a store, write, read back, expose metrics. Exit code 0 where all of it worked.
#include <chronolith/metrics.h>
#include <chronolith/storage.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto opened = chronolith::Storage::Open({}, argv[1]);
  if (!opened.ok()) {
    std::cerr << opened.status().ToString() << "\n";
    return 1;
  }
  chronolith::Storage& store = **opened;
  const chronolith::TimeSeries up{.labels = {{"__name__", "up"}, {"job", "consumer"}}, .samples = {{1700000000000, 1.0}}};
  if (const auto written = store.Write(up); !written.ok()) {
    std::cerr << written.status.ToString() << "\n";
    return 1;
  }
  int samples = 0;
  {
    auto found = store.Select({chronolith::Matcher::Equal("job", "consumer")}, {1699999999000, 1700000001000});
    if (!found.ok()) return 1;
    while ((*found)->Next()) {
      while ((*found)->samples().Next() == chronolith::ValueType::kFloat) samples += (*found)->samples().value() == 1.0;
    }
  }
  const bool exposed = chronolith::MetricsText(store).find("chronolith_wal_lock_wait_seconds") != std::string::npos;
  std::cout << samples << " sample, metrics " << (exposed ? "exposed" : "missing") << "\n";
  return samples == 1 && exposed && store.Close().ok() ? 0 : 1;
}

#include "server/web_config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <string_view>

namespace chronolith::server {
namespace {

constexpr std::size_t kTokenBytesMin = 16;

// Reads one file; remembers the first thing that is wrong. Thread safety: one thread.
class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) {}

  Result<WebConfig> Read(const YAML::Node& root) {
    WebConfig config;
    if (!root.IsNull()) {
      Keys(root, "", {"tls_server_config", "basic_auth_users", "bearer_tokens", "http_server_config"});
      if (root.IsMap()) {
        ReadTls(root["tls_server_config"], &config.tls);
        ReadUsers(root["basic_auth_users"], "basic_auth_users", &config.bcrypt_of_user);
        ReadUsers(root["bearer_tokens"], "bearer_tokens", &config.token_of_user);
        ReadHttp(root["http_server_config"], &config);
      }
    }
    for (const auto& [user, hash] : config.bcrypt_of_user) {
      const bool bcrypt = hash.size() == 60 && hash[0] == '$' && hash[1] == '2' && hash[3] == '$' && hash[6] == '$';
      if (!bcrypt) Wrong("basic_auth_users." + user, "is no bcrypt hash ($2y$...)");
    }
    for (const auto& [user, token] : config.token_of_user) {
      if (token.size() < kTokenBytesMin)
        Wrong("bearer_tokens." + user, "is shorter than " + std::to_string(kTokenBytesMin) + " characters");
    }
    if (!status_.ok()) return status_;
    return config;
  }

 private:
  void Wrong(const std::string& key, const std::string& what) {
    if (status_.ok()) status_ = InvalidArgument(path_ + ": " + key + " " + what);
  }

  void Keys(const YAML::Node& map, const std::string& prefix, std::initializer_list<std::string_view> known) {
    if (!map.IsMap()) return Wrong(prefix.empty() ? "the file" : prefix.substr(0, prefix.size() - 1), "is no mapping");
    for (const auto& entry : map) {
      const std::string key = entry.first.as<std::string>();
      if (std::find(known.begin(), known.end(), key) == known.end()) Wrong(prefix + key, "is not known here");
    }
  }

  std::string Text(const YAML::Node& map, const char* key) {
    const YAML::Node value = map[key];
    if (!value || value.IsNull()) return {};
    if (!value.IsScalar()) Wrong(key, "is no text");
    return value.IsScalar() ? value.Scalar() : std::string();
  }

  // Of texts; each is one of `known` (what is asked for, what it becomes), or any where there are none.
  std::vector<std::string> List(const YAML::Node& map, const char* key, const std::map<std::string, std::string>& known = {}) {
    std::vector<std::string> list;
    const YAML::Node value = map[key];
    if (!value || value.IsNull()) return list;
    if (!value.IsSequence()) return Wrong(key, "is no list"), list;
    for (const YAML::Node& one : value) {
      const std::string text = one.IsScalar() ? one.Scalar() : std::string();
      if (text.empty()) return Wrong(key, "is no list of texts"), list;
      const auto found = known.find(text);
      if (!known.empty() && found == known.end()) return Wrong(key, "has none that is called " + text), list;
      list.push_back(known.empty() ? text : found->second);
    }
    return list;
  }

  bool YesOrNo(const YAML::Node& map, const char* key, bool otherwise) {
    const YAML::Node value = map[key];
    if (!value || value.IsNull()) return otherwise;
    bool yes = otherwise;
    if (!YAML::convert<bool>::decode(value, yes)) Wrong(key, "is neither true nor false");
    return yes;
  }

  std::string FileName(const YAML::Node& map, const char* key) {
    const std::string name = Text(map, key);
    return name.empty() ? name : (std::filesystem::path(path_).parent_path() / name).string();
  }

  void ReadTls(const YAML::Node& tls, TlsConfig* config) {
    if (!tls || tls.IsNull()) return;
    Keys(tls, "tls_server_config.",
         {"cert_file", "key_file", "client_auth_type", "client_ca_file", "client_allowed_sans", "min_version", "max_version",
          "cipher_suites", "curve_preferences", "prefer_server_cipher_suites"});
    if (!tls.IsMap()) return;
    config->cert_file = FileName(tls, "cert_file");
    config->key_file = FileName(tls, "key_file");
    config->client_ca_file = FileName(tls, "client_ca_file");
    if (config->cert_file.empty()) Wrong("tls_server_config.cert_file", "is missing");
    if (config->key_file.empty()) Wrong("tls_server_config.key_file", "is missing");
    static const std::map<std::string, TlsConfig::ClientAuth> kTypes = {
        {"", TlsConfig::ClientAuth::kNone},
        {"NoClientCert", TlsConfig::ClientAuth::kNone},
        {"RequestClientCert", TlsConfig::ClientAuth::kRequest},
        {"RequireAnyClientCert", TlsConfig::ClientAuth::kRequireAny},
        {"VerifyClientCertIfGiven", TlsConfig::ClientAuth::kVerifyIfGiven},
        {"RequireAndVerifyClientCert", TlsConfig::ClientAuth::kRequireAndVerify}};
    const std::string type = Text(tls, "client_auth_type");
    if (const auto found = kTypes.find(type); found != kTypes.end()) {
      config->client_auth = found->second;
    } else {
      Wrong("tls_server_config.client_auth_type", "is none of Prometheus': " + type);
    }
    const bool verifies = config->client_auth == TlsConfig::ClientAuth::kVerifyIfGiven ||
                          config->client_auth == TlsConfig::ClientAuth::kRequireAndVerify;
    if (verifies && config->client_ca_file.empty()) Wrong("tls_server_config.client_ca_file", "is missing: " + type + " needs it");
    if (!config->client_ca_file.empty() && config->client_auth == TlsConfig::ClientAuth::kNone) {
      Wrong("tls_server_config.client_ca_file", "is given, but client_auth_type asks no client for a certificate");
    }
    config->client_allowed_sans = List(tls, "client_allowed_sans");
    if (!config->client_allowed_sans.empty() && !verifies) {
      Wrong("tls_server_config.client_allowed_sans", "is given, but client_auth_type verifies no certificate that has the name");
    }
    ReadVersions(tls, config);
  }

  void ReadVersions(const YAML::Node& tls, TlsConfig* config) {
    static const std::map<std::string, std::string> kCurves = {
        {"X25519", "X25519"}, {"CurveP256", "P-256"}, {"CurveP384", "P-384"}, {"CurveP521", "P-521"}};
    config->curve_preferences = List(tls, "curve_preferences", kCurves);
    config->cipher_suites = List(tls, "cipher_suites");
    config->prefer_server_cipher_suites = YesOrNo(tls, "prefer_server_cipher_suites", true);
    const std::string least = Text(tls, "min_version");
    if (!least.empty() && least != "TLS12" && least != "TLS13") Wrong("tls_server_config.min_version", "must be TLS12 or TLS13");
    config->only_tls13 = least == "TLS13";
    const std::string most = Text(tls, "max_version");
    if (!most.empty() && most != "TLS12" && most != "TLS13") Wrong("tls_server_config.max_version", "must be TLS12 or TLS13");
    config->only_tls12 = most == "TLS12";
    if (config->only_tls12 && config->only_tls13) Wrong("tls_server_config.max_version", "lies before min_version");
  }

  void ReadHttp(const YAML::Node& http, WebConfig* config) {
    if (!http || http.IsNull()) return;
    Keys(http, "http_server_config.", {"http2", "headers"});  // there is no HTTP/2 here
    if (!http.IsMap()) return;
    const YAML::Node headers = http["headers"];
    if (!headers || headers.IsNull()) return;
    static constexpr const char* kPrefix = "http_server_config.headers.";
    Keys(headers, kPrefix,
         {"Content-Security-Policy", "Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options", "X-XSS-Protection"});
    if (!headers.IsMap()) return;
    for (const auto& entry : headers) {
      const std::string value = entry.second.IsScalar() ? entry.second.Scalar() : std::string();
      const bool line = std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c < 127; });
      if (value.empty() || !line) return Wrong(kPrefix + entry.first.Scalar(), "is no line of text");
      config->headers.emplace_back(entry.first.Scalar(), value);
    }
  }

  void ReadUsers(const YAML::Node& users, const std::string& key, std::map<std::string, std::string>* out) {
    if (!users || users.IsNull()) return;
    if (!users.IsMap()) return Wrong(key, "is no mapping");
    for (const auto& entry : users) {
      if (!entry.second.IsScalar()) return Wrong(key + "." + entry.first.Scalar(), "is no text");
      (*out)[entry.first.Scalar()] = entry.second.Scalar();
    }
  }

  const std::string path_;
  Status status_;
};

}  // namespace

Result<WebConfig> LoadWebConfig(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return NotFound("cannot read the web configuration " + path);
  return ParseWebConfig({(std::istreambuf_iterator<char>(in)), {}}, path);
}

Result<WebConfig> ParseWebConfig(const std::string& text, const std::string& path) {
  try {
    return Reader(path).Read(YAML::Load(text));
  } catch (const YAML::Exception& e) {
    return InvalidArgument(path + ": " + e.what());
  }
}

}  // namespace chronolith::server

"""The dashboard and the rules that ship with chronolithd, against what a built program exports: each expression parses, names only
metrics and labels that are there, and answers; each alert has a test in which it fires and a section of the guide.

    rules_test.py --server PROGRAM --source DIRECTORY
"""
import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

sys.dont_write_bytecode = True  # the source tree stays as it is
import yaml  # noqa: E402

from promql import names  # noqa: E402

ARGS = argparse.ArgumentParser()
ARGS.add_argument("--server", required=True)
ARGS.add_argument("--source", required=True)
OPTIONS = None
TARGET = {"job": "chronolithd", "instance": "localhost:9201"}
SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:\\.|[^"\\])*)"')


def shipped(name):
    return os.path.join(OPTIONS.source, "tools", "chronolithd", name)


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def wait_until_ready(url):
    """It listens before its shards serve, and tells who writes then to come again."""
    while True:
        try:
            get(url + "/-/ready")
            return
        except urllib.error.HTTPError as e:
            if e.code != 503:
                raise


def points(name, count):
    """An OTLP request, as JSON, of that many series."""
    now = str(time.time_ns())
    data = [{"timeUnixNano": now, "asDouble": i, "attributes": [{"key": "path", "value": {"stringValue": f"/{i}"}}]} for i in range(count)]
    metrics = [{"name": name, "gauge": {"dataPoints": data}}]
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).encode()


def post(url, body, content_type):
    """The status of the answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": content_type}), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code


def export(url, name, count):
    return post(url + "/v1/metrics", points(name, count), "application/json")


def scrape_twice(directory, send, *flags):
    """What the program exports before and after `send` has talked to it."""
    command = [OPTIONS.server, "--db", os.path.join(directory, "db"), "--listen", "127.0.0.1:0", "--log-level", "error", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            line = program.stdout.readline()
            if not line.startswith("listening on "):
                raise RuntimeError("the program does not listen")
            url = line.split()[2]
            wait_until_ready(url)
            before = get(url + "/metrics")
            send(url)
            after = get(url + "/metrics")
        finally:
            program.terminate()
        if program.wait() != 0:
            raise RuntimeError("the program failed")
    return before, after


# ---- Remote write, by hand ----

def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def write_request(labels, time_ms):
    series = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(labels.items()))
    return field(1, series + field(2, b"\x09" + struct.pack("<d", 1.0) + b"\x10" + varint(time_ms)))


def snappy(data):
    """One literal."""
    length = len(data) - 1
    return varint(len(data)) + bytes([61 << 2]) + struct.pack("<H", length) + data


def zeros(count):
    """A snappy block of so many zeros, in copies of what is before them."""
    return varint(count) + b"\x00\x00" + (bytes([63 << 2 | 2]) + struct.pack("<H", 1)) * ((count - 1) // 64)


def write(url, labels, time_ms=None):
    body = snappy(write_request(labels, time_ms or time.time_ns() // 10**6))
    return post(url + "/api/v1/write", body, "application/x-protobuf")


def samples(text):
    """As Prometheus stores them: the target's labels added, a label of the same name renamed."""
    for line in text.splitlines():
        match = SAMPLE.match(line)
        if not match or not match["name"].startswith(("chronolith_", "process_")):
            continue
        labels = {("exported_" + k if k in TARGET else k): v for k, v in LABEL.findall(match["labels"] or "")}
        yield {"name": match["name"], "labels": labels, "value": match["value"]}


def exported(text):
    known = {"up": set(TARGET)}
    for sample in samples(text):
        known.setdefault(sample["name"], set(TARGET)).update(sample["labels"])
    return known


class Peer:
    """A Prometheus over two minutes of scrapes, made of what the program exported."""

    def __init__(self, directory, before, after):
        self.now = int(time.time())
        lines = []
        for text, first in ((before, -120), (after, -60)):
            for sample in samples(text):
                labels = ",".join(f'{k}="{v}"' for k, v in {**sample["labels"], **TARGET}.items())
                lines += [(sample["name"], labels, sample["value"], self.now + first + at) for at in (0, 15, 30, 45)]
        lines += [("up", ",".join(f'{k}="{v}"' for k, v in TARGET.items()), "1", self.now - 60)]
        lines.sort()
        text = os.path.join(directory, "scrapes.om")
        with open(text, "w", encoding="utf-8") as out:
            out.writelines(f"{name}{{{labels}}} {value} {at}\n" for name, labels, value, at in lines)
            out.write("# EOF\n")
        data = os.path.join(directory, "prometheus")
        code, output = run("promtool", "tsdb", "create-blocks-from", "openmetrics", text, data)
        if code != 0:
            raise RuntimeError(output)
        config = os.path.join(directory, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("global: {}\n")
        for _ in range(10):  # the port may be lost to somebody else
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{self.port}"],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if self.ready():
                return
            self.stop()
        raise RuntimeError("Prometheus does not start")

    def ready(self):
        """Whether it has said so, before its end and within two minutes. What it says later is read and dropped."""
        said = threading.Event()
        lines = []

        def read():
            for line in self.process.stderr:
                if not said.is_set():
                    lines.append(line)
                if b"Server is ready" in line:
                    said.set()
            ended.set()
            said.set()

        ended = threading.Event()
        threading.Thread(target=read, daemon=True).start()
        if not said.wait(120):
            self.stop()
            raise RuntimeError("Prometheus is not ready after two minutes: " + b"".join(lines).decode(errors="replace"))
        return not ended.is_set()

    def query(self, expr):
        query = urllib.parse.urlencode({"query": expr, "time": self.now - 15})
        return json.loads(get(f"http://127.0.0.1:{self.port}/api/v1/query?{query}"))["data"]["result"]

    def stop(self):
        self.process.kill()
        self.process.wait()


def without_variables(expr):
    for variable, value in (("$__rate_interval", "1m30s"), ("$job", ".+"), ("$instance", ".+"), ("$shard", ".+")):
        expr = expr.replace(variable, value)
    return expr


class Shipped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        before, after = scrape_twice(cls.directory, lambda url: [export(url, f"requests_{i}", 2000) for i in range(10)])
        if value(after, "chronolith_head_appended_samples_total") == 0:
            raise RuntimeError("the program took no samples")
        cls.known = exported(after)
        cls.peer = Peer(cls.directory, before, after)
        cls.addClassCleanup(cls.peer.stop)
        with open(shipped("prometheus-rules.yml"), encoding="utf-8") as file:
            cls.rules = [rule for group in yaml.safe_load(file)["groups"] for rule in group["rules"]]
        with open(shipped("grafana-dashboard.json"), encoding="utf-8") as file:
            cls.dashboard = json.load(file)
        cls.recorded = {}
        for rule in cls.rules:
            if "record" in rule:
                cls.recorded[rule["record"]] = (names(rule["expr"])[1] | set(TARGET)) - {"le"}
        cls.panels = [p for p in cls.dashboard["panels"] if p["type"] != "row"]

    def check_names(self, expr, where):
        known = {**self.known, **self.recorded}
        metrics, grouped = names(expr)
        self.assertTrue(metrics, f"{where}: names no metric")
        here = set(TARGET)
        for metric, labels in metrics:
            self.assertIn(metric, known, f"{where}: not exported")
            self.assertLessEqual(labels, known[metric], f"{where}: labels that {metric} has not")
            here |= known[metric]
        self.assertLessEqual(grouped, here, f"{where}: labels that none of its metrics has")

    def test_promtool_takes_the_rules(self):
        code, output = run("promtool", "check", "rules", shipped("prometheus-rules.yml"))
        self.assertEqual(code, 0, output)

    def test_each_alert_fires_where_it_should(self):
        with open(os.path.join(os.path.dirname(__file__), "rules.test.yml"), encoding="utf-8") as file:
            text = file.read()
        cases = os.path.join(self.directory, "rules.test.yml")
        with open(cases, "w", encoding="utf-8") as file:
            file.write(text.replace("RULES", shipped("prometheus-rules.yml"), 1))
        code, output = run("promtool", "test", "rules", cases)
        self.assertEqual(code, 0, output)
        for rule in self.rules:
            if "alert" in rule:
                self.assertIn(f'alertname="{rule["alert"]}", alertstate="firing"', text, "no test in which it fires")
            else:
                self.assertRegex(text, rf'expr: \S*{re.escape(rule["record"])}\b', "no test of what it records")

    def test_rules_name_only_what_is_exported(self):
        for rule in self.rules:
            self.check_names(rule["expr"], rule.get("alert") or rule["record"])

    def test_no_alert_is_raised_over_a_healthy_store(self):
        recorded = {r["record"]: r["expr"] for r in self.rules if "record" in r}
        for rule in self.rules:
            expr = rule["expr"]
            if "alert" not in rule:
                self.assertTrue(self.peer.query(expr), rule["record"])
                continue
            for name, of in recorded.items():
                # As it would be recorded; with what matchers there are.
                expr = re.sub(re.escape(name) + r"(\{[^}]*\})?", lambda m, of=of: f"({of})", expr)
            # None since the open half a minute ago: what it waits for, before it is raised, is longer.
            if rule["alert"] != "ChronolithCheckpointOverdue":
                self.assertEqual(self.peer.query(expr), [], rule["alert"])

    def test_alerts_lead_to_the_guide(self):
        with open(os.path.join(OPTIONS.source, "tools", "README.md"), encoding="utf-8") as file:
            headings = re.findall(r"^#+ (.*)$", file.read(), re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 _-]", "", h.lower()).replace(" ", "-") for h in headings}
        for rule in self.rules:
            if "alert" in rule:
                packaged = r"/usr/share/doc/chronolith/README\.md#([a-z-]+) \(in the source: tools/README\.md\)"
                self.assertRegex(rule["annotations"]["runbook"], packaged)
                anchor = re.fullmatch(packaged, rule["annotations"]["runbook"]).group(1)
                self.assertIn(anchor, anchors, rule["alert"])
                self.assertIn(rule["labels"]["severity"], ("critical", "warning"))

    def test_panels_parse(self):
        rules = [{"record": f"panel:{p['id']}:{t['refId']}", "expr": without_variables(t["expr"])}
                 for p in self.panels for t in p["targets"]]
        self.assertGreater(len(rules), 40)
        path = os.path.join(self.directory, "panels.yml")
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, file)
        code, output = run("promtool", "check", "rules", path)
        self.assertEqual(code, 0, output)

    def test_panels_name_only_what_is_exported(self):
        for panel in self.panels:
            for target in panel["targets"]:
                self.check_names(without_variables(target["expr"]), panel["title"])

    def test_panels_answer(self):
        # Nothing to show without the event: a checkpoint since the open.
        may_be_empty = {"Age of the last checkpoint"}
        for panel in self.panels:
            for target in panel["targets"]:
                answer = self.peer.query(without_variables(target["expr"]))
                if panel["title"] not in may_be_empty:
                    self.assertTrue(answer, f'{panel["title"]}: {target["expr"]}')

    def test_the_dashboard_is_whole(self):
        variables = {v["name"] for v in self.dashboard["templating"]["list"]}
        self.assertLessEqual({"datasource", "job", "instance"}, variables)
        ids, taken = set(), set()
        for panel in self.dashboard["panels"]:
            self.assertNotIn(panel["id"], ids)
            ids.add(panel["id"])
            grid = panel["gridPos"]
            self.assertLessEqual(grid["x"] + grid["w"], 24)
            for x in range(grid["x"], grid["x"] + grid["w"]):
                for y in range(grid["y"], grid["y"] + grid["h"]):
                    self.assertNotIn((x, y), taken, panel["title"])
                    taken.add((x, y))
        for panel in self.panels:
            self.assertTrue(panel["title"] and panel["fieldConfig"]["defaults"]["unit"], panel["id"])
            self.assertEqual(panel["datasource"]["uid"], "${datasource}")
            references = [t["refId"] for t in panel["targets"]]
            self.assertEqual(len(references), len(set(references)))
            for target in panel["targets"]:
                self.assertEqual(target["datasource"]["uid"], "${datasource}")
                used = set(re.findall(r"\$\{?([a-zA-Z_]+)", target["expr"])) - {"__rate_interval"}
                self.assertLessEqual(used, variables, panel["title"])
        for variable in self.dashboard["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.match(r"label_values\(([a-z_]+)(?:\{.*\})?, ([a-z]+)\)", variable["query"]["query"]).groups()
                self.assertIn(label, self.known[metric])


def value(text, name):
    return sum(float(s["value"]) for s in samples(text) if s["name"] == name)


def healthy(url):
    try:
        return bool(get(url + "/-/healthy"))
    except OSError:
        return False


def moved(before, after):
    """{(name, labels): value before, how much more it is after}; a counter that was not there was 0."""
    first = {(s["name"], tuple(sorted(s["labels"].items()))): float(s["value"]) for s in samples(before)}
    out = {}
    for s in samples(after):
        key = (s["name"], tuple(sorted(s["labels"].items())))
        start = first.get(key, 0.0)
        out[key] = (start, float(s["value"]) - start)
    return out


class Refused(unittest.TestCase):
    """An alert over what the program exports when it refuses, for each reason that the alert's text names and a test can bring about
    without a disk of its own (tests/server/chronolithd_disk_test.cc has one)."""

    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def check(self, alert, send, *flags):
        """The alert fires where each minute is as the moment in which `send` talked to the program."""
        before, after = scrape_twice(self.directory, send, *flags)
        shutil.rmtree(os.path.join(self.directory, "db"))
        with open(shipped("prometheus-rules.yml"), encoding="utf-8") as file:
            rules = [r for group in yaml.safe_load(file)["groups"] for r in group["rules"] if "_refused" in r["expr"] or "refused" in r.get("record", "")]
        wanted = {name for rule in rules for name, _ in names(rule["expr"])[0]}
        series = []
        for (name, labels), (start, more) in moved(before, after).items():
            if name in wanted:
                text = ",".join(f'{k}="{v}"' for k, v in [*labels, *TARGET.items()])
                series.append({"series": f"{name}{{{text}}}", "values": f"{start:g}+{more:g}x60"})
        labels = ", ".join(f'{k}="{v}"' for k, v in TARGET.items())
        firing = f'ALERTS{{alertname="{alert}", alertstate="firing", severity="warning", {labels}}}'
        case = {"rule_files": [shipped("prometheus-rules.yml")], "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [
                    {"expr": f'ALERTS{{alertstate="firing", alertname="{alert}"}}', "eval_time": "30m",
                     "exp_samples": [{"labels": firing, "value": 1}]}]}]}
        path = os.path.join(self.directory, "test.yml")
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump(case, file)
        code, output = run("promtool", "test", "rules", path)
        self.assertEqual(code, 0, output)

    def test_series_beyond_the_limit(self):
        def remote_write(url):
            self.assertEqual(write(url, {"__name__": "a"}), 204)
            self.assertEqual(write(url, {"__name__": "b"}), 400)
        self.check("ChronolithSamplesRefused", remote_write, "--max-series", "1")
        self.check("ChronolithSamplesRefused", lambda url: export(url, "a", 3), "--max-series", "1")

    def test_labels_that_are_too_long(self):
        self.check("ChronolithSamplesRefused", lambda url: self.assertEqual(write(url, {"__name__": "a" * 40}), 400),
                   "--max-label-value-bytes", "30")
        self.check("ChronolithSamplesRefused", lambda url: export(url, "a" * 40, 3), "--max-label-value-bytes", "30")

    def test_times_in_the_future(self):
        later = (time.time_ns() // 10**6) + 10**9
        self.check("ChronolithSamplesRefused", lambda url: self.assertEqual(write(url, {"__name__": "a"}, later), 400))

    def test_memory_that_others_have_taken(self):
        def send(url):
            host, port = re.match(r"http://([0-9.]+):([0-9]+)", url).groups()
            with socket.create_connection((host, int(port)), timeout=60) as held:
                held.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n"
                             b"Content-Length: 1600000\r\n\r\n" + bytes(1500000))
                while value(get(url + "/metrics"), "chronolith_http_body_bytes_in_flight") < 10**6:
                    pass
                block = zeros(1500001 - 32)  # small itself: its memory is wanted when it is decoded
                for _ in range(10):
                    self.assertEqual(post(url + "/api/v1/write", block, "application/x-protobuf"), 429)
                self.assertEqual(value(get(url + "/metrics"), "chronolith_http_overloaded_total"), 10)
        self.check("ChronolithRequestsRefused", send, "--max-in-flight-bytes", "2MiB")

    def test_writes_that_are_too_large(self):
        def send(url):
            for _ in range(10):
                self.assertEqual(post(url + "/api/v1/write", zeros(4096), "application/x-protobuf"), 413)
                self.assertEqual(post(url + "/v1/metrics", bytes(8192), "application/x-protobuf"), 413)
        self.check("ChronolithRequestsRefused", send, "--max-decoded-bytes", "1KiB", "--max-body-bytes", "4KiB")

    def test_connections_beyond_the_limit(self):
        def send(url):
            host, port = re.match(r"http://([0-9.]+):([0-9]+)", url).groups()
            status = b""
            only = None
            while status != b"HTTP/1.1 200":  # that of the scrape may still be counted
                if only is not None:
                    only.close()
                only = socket.create_connection((host, int(port)), timeout=60)
                with contextlib.suppress(OSError):  # closed at once
                    only.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
                    status = only.recv(12)
            for _ in range(10):
                with socket.create_connection((host, int(port)), timeout=60) as one_more:
                    self.assertEqual(one_more.recv(12), b"HTTP/1.1 503")
            only.close()
            while not healthy(url):
                pass
        self.check("ChronolithRequestsRefused", send, "--max-connections", "1")


class Names(unittest.TestCase):
    """The judge itself: what it must see."""

    def test_metrics_matchers_and_groups(self):
        metrics, grouped = names('histogram_quantile(0.99, sum by (le, shard) (rate(a_bucket{x="1", y=~"}b"}[5m]))) > on (job) c or bool_d')
        self.assertEqual(metrics, [("a_bucket", {"x", "y"}), ("c", set()), ("bool_d", set())])
        self.assertEqual(grouped, {"le", "shard", "job"})

    def test_no_selector_hides_its_metric(self):
        with self.assertRaises(ValueError):
            names('sum({__name__=~"a.*"})')


if __name__ == "__main__":
    OPTIONS, rest = ARGS.parse_known_args()
    OPTIONS.source = os.path.abspath(OPTIONS.source)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)

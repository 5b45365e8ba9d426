"""The systemd unit and the example configurations, judged by those who read them: systemd-analyze, promtool, vmagent.

    files_test.py --source DIRECTORY
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

ARGS = argparse.ArgumentParser()
ARGS.add_argument("--source", required=True)
OPTIONS = None
ADDRESS = "127.0.0.1:9201"


def shipped(*names):
    return os.path.join(OPTIONS.source, "tools", "chronolithd", *names)


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def load(*names):
    with open(shipped(*names), encoding="utf-8") as file:
        return yaml.safe_load(file)


class InScratch(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)


class Unit(InScratch):
    def setUp(self):
        super().setUp()
        with open(shipped("chronolithd.service"), encoding="utf-8") as file:
            self.text = file.read()
        # verify looks for the program and the manual page: here they are not installed.
        self.path = os.path.join(self.directory, "chronolithd.service")

    def verify(self, text):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text.replace("/usr/bin/chronolithd", "/bin/true"))
        return run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", self.path)

    def test_verify_has_nothing_to_say(self):
        code, output = self.verify(self.text)
        about_it = [line for line in output.splitlines() if "chronolithd" in line]
        self.assertEqual((code, about_it), (0, []), output)

    def test_verify_would_see_a_mistake(self):
        _, output = self.verify(self.text.replace("ProtectHome=yes", "ProtectHomes=yes"))
        self.assertIn("ProtectHomes", output)

    def test_exposure_is_low(self):
        self.verify(self.text)
        code, output = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", self.path)
        self.assertEqual(code, 0, output)
        level = float(re.search(r"Overall exposure level for .*: ([0-9.]+)", output).group(1))
        self.assertLessEqual(level, 2.0, output)

    def test_what_the_threshold_is_worth(self):
        # Without its hardening the same unit is far above it.
        bare = re.sub(r"^(Protect|Private|Restrict|System|NoNew|Capability|Memory|Lock|User=).*\n", "", self.text, flags=re.MULTILINE)
        self.verify(bare)
        code, _ = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", self.path)
        self.assertNotEqual(code, 0)


class Examples(InScratch):
    def test_prometheus_takes_its_own(self):
        for name in ("examples/prometheus.yml", "prometheus-rules.yml"):
            shutil.copy(shipped(name), self.directory)
        code, output = run("promtool", "check", "config", os.path.join(self.directory, "prometheus.yml"))
        self.assertEqual(code, 0, output)
        self.assertIn("1 rule files found", output)
        config = load("examples", "prometheus.yml")
        self.assertEqual(config["remote_write"][0]["url"], f"http://{ADDRESS}/api/v1/write")
        self.assertEqual(config["remote_read"][0]["url"], f"http://{ADDRESS}/api/v1/read")

    def test_vmagent_takes_its_own(self):
        with open(shipped("examples", "vmagent.yml"), encoding="utf-8") as file:
            command = re.match(r"# (vmagent .*)", file.readline()).group(1).split()
        path = shipped("examples", "vmagent.yml")
        command = [a.replace("=vmagent.yml", "=" + path).replace("/var/lib/vmagent", self.directory) for a in command]
        code, output = run(*command, "-dryRun")
        self.assertEqual(code, 0, output)
        self.assertIn(f"-remoteWrite.url=http://{ADDRESS}/api/v1/write", command)
        broken = os.path.join(self.directory, "broken.yml")
        with open(broken, "w", encoding="utf-8") as file:
            file.write("scrape_configs: [{job_name: a, static_config: []}]\n")
        code, _ = run(*[a.replace(path, broken) for a in command], "-dryRun", "-promscrape.config.strictParse=true")
        self.assertNotEqual(code, 0, "-dryRun sees no mistake")

    def test_the_collector_has_what_its_pipelines_name(self):
        config = load("examples", "otel-collector.yml")
        self.assertLessEqual(set(config), {"receivers", "processors", "exporters", "extensions", "service"})
        for pipeline in config["service"]["pipelines"].values():
            for part in ("receivers", "processors", "exporters"):
                self.assertTrue(pipeline[part])
                self.assertLessEqual(set(pipeline[part]), set(config[part]))
        # It sends to where chronolithd listens, and does not listen there itself.
        with open(shipped("flags.h"), encoding="utf-8") as file:
            served = dict(re.findall(r'kOtlp(Grpc|Http)[^"\n]*"([0-9.:]+)"', file.read()))
        self.assertEqual(config["exporters"]["otlp"]["endpoint"], served["Grpc"])
        self.assertTrue(config["exporters"]["otlp"]["tls"]["insecure"])
        for protocol in config["receivers"]["otlp"]["protocols"].values():
            self.assertNotIn(protocol["endpoint"], served.values())


if __name__ == "__main__":
    OPTIONS, rest = ARGS.parse_known_args()
    OPTIONS.source = os.path.abspath(OPTIONS.source)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)

"""The Debian package: made by cpack, judged by lintian and systemd-analyze, installed by dpkg into a small Debian of its own, its service run
as the unit says, upgraded, removed and purged.

    package_test.py --build DIRECTORY --work DIRECTORY --version VERSION

Not root: runs itself as root of a user namespace (uidmap, and the user's ranges in /etc/subuid and /etc/subgid).
"""
import argparse
import glob
import http.client
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
import unittest

from small_debian import ENVIRONMENT, SmallDebian

ARGS = argparse.ArgumentParser()
ARGS.add_argument("--build", required=True)
ARGS.add_argument("--work", required=True)
ARGS.add_argument("--version", required=True)
OPTIONS = None
PACKAGE = None
DATA = "/var/lib/chronolith"
DEFAULTS = "/etc/default/chronolithd"
UNIT = "/lib/systemd/system/chronolithd.service"
ENABLED = "/etc/systemd/system/multi-user.target.wants/chronolithd.service"
# What remains of a user: its entries, the tools' backups of the files that have them, and the lock of adduser.
USER_FILES = {"/etc/" + name + suffix for name in ("passwd", "group", "shadow", "gshadow") for suffix in ("", "-")} | {"/run/adduser"}


def setUpModule():
    global PACKAGE
    shutil.rmtree(OPTIONS.work, ignore_errors=True)
    os.makedirs(OPTIONS.work)
    subprocess.run(["cpack", "--config", OPTIONS.build + "/CPackConfig.cmake", "-B", OPTIONS.work + "/made"], check=True)
    (PACKAGE,) = glob.glob(OPTIONS.work + "/made/*.deb")


def tearDownModule():
    shutil.rmtree(OPTIONS.work)


def field(name):
    return subprocess.run(["dpkg-deb", "-f", PACKAGE, name], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


class Service:
    """The unit's ExecStart, as its user and with its environment. What confines it further is systemd's."""

    def __init__(self, debian):
        with open(debian.path(UNIT), encoding="utf-8") as file:
            self.unit = dict(re.findall(r"^(\w+)=(.*)$", file.read(), re.MULTILINE))
        environment = {"STATE_DIRECTORY": "/var/lib/" + self.unit["StateDirectory"]}
        with open(debian.path(self.unit["EnvironmentFile"].lstrip("-")), encoding="utf-8") as file:
            for name, value in re.findall(r"^(\w+)=(.*)$", file.read(), re.MULTILINE):
                environment[name] = " ".join(shlex.split(value))
        command = []
        for word in self.unit["ExecStart"].split():
            word = re.sub(r"\$\{(\w+)\}", lambda m: environment[m.group(1)], word)
            command += environment[word[1:]].split() if word.startswith("$") else [word]
        as_user = ["setpriv", "--reuid=" + self.unit["User"], "--regid=" + self.unit["Group"], "--init-groups", "--no-new-privs",
                   "--inh-caps=-all", "--bounding-set=-all"]
        self.process = subprocess.Popen(["chroot", debian.root, *as_user, *command], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
                                        umask=int(self.unit["UMask"], 8), stdin=subprocess.DEVNULL)
        self.ports = {}
        for name, pattern in (("http", r"listening on http://127\.0\.0\.1:(\d+)"), ("grpc", r"gRPC on 127\.0\.0\.1:(\d+)"),
                              ("otlp", r"HTTP on http://127\.0\.0\.1:(\d+)")):
            line = self.process.stdout.readline()
            found = re.search(pattern, line)
            if not found:
                self.end(signal.SIGKILL)
                raise AssertionError("instead of its address the server says: " + line)
            self.ports[name] = int(found.group(1))

    def ask(self, port, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=60)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.stdout.close()
        return self.process.wait(timeout=120)


class Judged(unittest.TestCase):
    def test_lintian_finds_neither_errors_nor_warnings(self):
        done = subprocess.run(["lintian", "--fail-on", "error,warning", PACKAGE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_it_says_what_it_is(self):
        self.assertEqual((field("Package"), field("Version"), field("Section")), ("chronolith", OPTIONS.version, "database"))
        self.assertRegex(field("Maintainer"), r".+ <.+@.+>")
        for needed in ("adduser", "librocksdb", "libgrpc++", "libc6 (>= "):
            self.assertIn(needed, field("Depends"))


class Installed(unittest.TestCase):
    def setUp(self):
        root = os.path.join(OPTIONS.work, "root")
        self.debian = SmallDebian(root, field("Depends"))
        self.addCleanup(shutil.rmtree, root)
        self.addCleanup(self.unmount)
        self.before = self.debian.files()
        self.service = None

    def unmount(self):
        for path in glob.glob(self.debian.path("dev/*")):
            if os.path.ismount(path):
                subprocess.run(["umount", path], check=True)

    def dpkg(self, *arguments):
        return self.debian.run("dpkg", *arguments).stdout

    def install(self):
        """Leaves no copy of the package behind."""
        inside = self.debian.path("tmp/chronolith.deb")
        shutil.copy(PACKAGE, inside)
        try:
            return self.dpkg("--install", "/tmp/chronolith.deb")
        finally:
            os.remove(inside)

    def start(self):
        self.service = Service(self.debian)
        self.addCleanup(lambda: self.service.process.poll() is not None or self.service.end(signal.SIGKILL))
        return self.service

    def flags(self, text):
        with open(self.debian.path(DEFAULTS), "w", encoding="utf-8") as file:
            file.write(f'CHRONOLITHD_ARGS="{text}"\n')

    def changed(self):
        after = self.debian.files()
        return {path for path in self.before.keys() | after.keys() if self.before.get(path) != after.get(path)}

    def test_the_service_runs_as_its_unit_says(self):
        self.install()
        done = subprocess.run(["systemd-analyze", "verify", "--root=" + self.debian.root, "--man=no", "--recursive-errors=no", UNIT],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.flags("--listen 127.0.0.1:0 --log-level warning")
        service = self.start()
        user = self.user()
        with open(f"/proc/{service.process.pid}/status", encoding="utf-8") as file:
            status = file.read()
        self.assertRegex(status, rf"(?m)^Uid:\s+{user.pw_uid}\s+{user.pw_uid}\s+{user.pw_uid}\s")
        self.assertRegex(status, r"(?m)^CapEff:\s+0+$")
        deadline = time.monotonic() + 120
        while service.ask("http", "GET", "/-/ready")[0] != 200:
            self.assertLess(time.monotonic(), deadline, "not ready")

        point = {"timeUnixNano": str(time.time_ns()), "asDouble": 21.5}
        gauge = {"name": "room.temperature", "gauge": {"dataPoints": [point]}}
        written = service.ask("otlp", "POST", "/v1/metrics", json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [gauge]}]}]}))
        self.assertEqual(written[0], 200, written)
        self.assertEqual(service.end(), 0)
        for path, (mode, owner, group, _) in self.debian.files().items():
            if path.startswith(DATA + "/"):
                self.assertEqual((owner, group, int(mode, 8) & stat.S_IRWXO), (user.pw_uid, user.pw_gid, 0), path)
        found = self.debian.run("chronolith", "query", "--db", DATA + "/db", "--format", "csv", "room_temperature").stdout
        self.assertIn(",21.5", found)
        self.remove_and_purge_keep_the_data()

    def remove_and_purge_keep_the_data(self):
        data = {path: what for path, what in self.debian.files().items() if path.startswith(DATA)}
        self.assertGreater(len(data), 10)
        self.install()  # an upgrade
        with open(self.debian.path(DEFAULTS), encoding="utf-8") as file:
            self.assertIn("--log-level warning", file.read(), "the administrator's flags")
        self.dpkg("--remove", "chronolith")
        self.assertFalse(os.path.exists(self.debian.path("usr/bin/chronolithd")))
        self.assertTrue(os.path.exists(self.debian.path(DEFAULTS)))
        said = self.dpkg("--purge", "chronolith")
        self.assertIn(DATA + " holds data and was kept", said)
        self.assertEqual({path: what for path, what in self.debian.files().items() if path.startswith(DATA)}, data)
        self.assertEqual(self.changed() - USER_FILES - data.keys() - self.left_by_systemd(), set())

    def user(self):
        with open(self.debian.path("etc/passwd"), encoding="utf-8") as file:
            (line,) = [line for line in file.read().splitlines() if line.startswith("chronolith:")]
        parts = line.split(":")
        return pwd.struct_passwd((parts[0], parts[1], int(parts[2]), int(parts[3]), *parts[4:]))

    @staticmethod
    def left_by_systemd():
        """Empty directories that deb-systemd-helper makes and leaves."""
        return {"/etc/systemd/system/multi-user.target.wants", "/var/lib/systemd/deb-systemd-helper-enabled",
                "/var/lib/systemd/deb-systemd-helper-enabled/multi-user.target.wants"}

    def test_without_data_nothing_stays_but_the_user(self):
        said = self.install()
        self.assertNotRegex(said, "(?i)warning|error")
        user = self.user()
        self.assertEqual((user.pw_dir, user.pw_shell), (DATA, "/usr/sbin/nologin"))
        self.assertLess(user.pw_uid, 1000)
        directory = os.stat(self.debian.path(DATA))
        self.assertEqual((directory.st_uid, directory.st_gid, stat.S_IMODE(directory.st_mode)), (user.pw_uid, user.pw_gid, 0o750))
        self.assertEqual(os.readlink(self.debian.path(ENABLED)), UNIT)
        self.assertIn(DEFAULTS, self.dpkg("--status", "chronolith"))
        files = self.dpkg("--listfiles", "chronolith")
        for name in ("man/man8/chronolithd.8.gz", "man/man1/chronolith-backup.1.gz", "zsh/vendor-completions/_chronolithd",
                     "bash-completion/completions/chronolithd", "fish/vendor_completions.d/chronolith.fish", "doc/chronolith/copyright",
                     "doc/chronolith/changelog.gz", "doc/chronolith/examples/grafana-dashboard.json"):
            self.assertIn("/usr/share/" + name + "\n", files)
        self.assertEqual(self.debian.run("chronolithd", "--version").stdout, f"chronolithd {OPTIONS.version}\n")

        self.dpkg("--purge", "chronolith")
        self.assertEqual(self.changed() - USER_FILES - self.left_by_systemd(), set())
        self.assertNotEqual(self.debian.run("dpkg", "--status", "chronolith", check=False).returncode, 0)
        self.assertEqual(glob.glob(self.debian.path("var/lib/dpkg/info/chronolith.*")), [])
        self.install()  # and the user that is there is taken again
        self.assertEqual(self.user(), user)

    def test_where_systemd_runs_it_is_started_restarted_and_stopped(self):
        link = self.debian.path(ENABLED)
        os.makedirs(self.debian.path("run/systemd/system"))
        systemctl = self.debian.path("usr/bin/systemctl")
        with open(systemctl, "w", encoding="utf-8") as file:  # a running one, which takes what is enabled for active
            file.write(f"""#!/bin/sh
echo "$*" >>/run/systemctl.log
case "$*" in
*is-enabled*) [ ! -h {ENABLED} ] || echo enabled ;;
*is-active*) [ -h {ENABLED} ] ;;
*" preset "*) mkdir -p {os.path.dirname(ENABLED)} && ln -s {UNIT} {ENABLED} ;;
esac
""")
        os.chmod(systemctl, 0o755)

        def asked():
            log = self.debian.path("run/systemctl.log")
            with open(log, encoding="utf-8") as file:
                lines = file.read().splitlines()
            os.remove(log)
            return [word for line in lines for word in line.split() if word in ("daemon-reload", "start", "restart", "stop")]

        self.install()
        self.assertEqual(asked(), ["daemon-reload", "start"])
        self.install()
        self.assertEqual(asked(), ["daemon-reload", "restart"])
        os.remove(link)  # systemctl disable
        self.install()
        self.assertEqual(asked(), ["daemon-reload"])
        self.assertFalse(os.path.lexists(link))
        self.dpkg("--remove", "chronolith")
        self.assertEqual(asked(), ["stop", "daemon-reload"])


if __name__ == "__main__":
    if os.geteuid() != 0:
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--map-auto", "--mount", sys.executable, *sys.argv])
    OPTIONS, rest = ARGS.parse_known_args()
    OPTIONS.build, OPTIONS.work = os.path.abspath(OPTIONS.build), os.path.abspath(OPTIONS.work)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)

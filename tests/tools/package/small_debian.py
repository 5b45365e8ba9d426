"""A small Debian below a directory: the essential packages of this machine, and what is asked for with all that it depends on. Files are
copied, not fetched; of dpkg's database it has what belongs to them. Needs no more of a container than chroot and, for /dev/null, mknod or a
mount namespace.
"""
import os
import re
import shutil
import stat
import subprocess

DATABASE = "/var/lib/dpkg"
LEFT_OUT = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def names_in(relations):
    """Of "a (>= 1), b | c:any" [["a"], ["b", "c"]]."""
    return [[re.split(r"[\s(:\[]", choice.strip())[0] for choice in part.split("|")] for part in relations.split(",") if part.strip()]


class Installed:
    """The packages of this machine."""

    def __init__(self):
        with open(DATABASE + "/status", encoding="utf-8") as file:
            stanzas = file.read().strip().split("\n\n")
        native = subprocess.run(["dpkg", "--print-architecture"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        self.stanzas, self.fields, self.providers = {}, {}, {}
        for stanza in stanzas:
            fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", stanza, re.MULTILINE))
            if fields["Status"].split()[2] != "installed" or fields["Architecture"] not in (native, "all"):
                continue
            name = fields["Package"]
            self.stanzas[name], self.fields[name] = stanza, fields
            for provided in [name] + [choice[0] for choice in names_in(fields.get("Provides", ""))]:
                self.providers.setdefault(provided, []).append(name)
        self.architecture = native

    def closure(self, relations):
        """Essential packages, and what satisfies `relations` with all that that depends on."""
        wanted = [[name] for name, fields in self.fields.items() if fields.get("Essential") == "yes"] + names_in(relations)
        found = set()
        while wanted:
            choices = wanted.pop()
            providers = [name for choice in choices for name in self.providers.get(choice, [])]
            if not providers:
                raise LookupError("no installed package is " + " or ".join(choices))
            if found.isdisjoint(providers):
                found.add(providers[0])
                fields = self.fields[providers[0]]
                wanted += names_in(fields.get("Pre-Depends", "")) + names_in(fields.get("Depends", ""))
        return sorted(found)

    def list_file(self, name):
        plain = f"{DATABASE}/info/{name}.list"
        return plain if os.path.exists(plain) else f"{DATABASE}/info/{name}:{self.architecture}.list"


class SmallDebian:
    def __init__(self, root, relations):
        self.root = root
        os.makedirs(root, mode=0o755)
        os.chmod(root, 0o755)
        installed = Installed()
        self.packages = installed.closure(relations)
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if os.path.islink("/" + name):
                os.makedirs(self.path(os.readlink("/" + name)), exist_ok=True)
                os.symlink(os.readlink("/" + name), self.path(name))
        for directory in ("dev", "tmp", "var/log", "var/lib", "etc", DATABASE + "/info", DATABASE + "/updates", DATABASE + "/triggers"):
            os.makedirs(self.path(directory), exist_ok=True)
        for package in self.packages:
            self._copy_package(installed.list_file(package))
        with open(self.path(DATABASE, "status"), "w", encoding="utf-8") as file:
            file.write("".join(installed.stanzas[name] + "\n\n" for name in self.packages))
        self._devices()
        # What the maintainer scripts of the essential packages have made.
        for name in ("passwd", "group"):
            shutil.copy(self.path("usr/share/base-passwd", name + ".master"), self.path("etc", name))
        for kind in ("account", "auth", "password", "session"):
            with open(self.path("etc/pam.d", "common-" + kind), "w", encoding="utf-8") as file:
                file.write(kind + " required pam_permit.so\n")
        self.run("pwconv")
        self.run("grpconv")
        self.run("ldconfig")

    def path(self, *parts):
        return os.path.join(self.root, *(part.lstrip("/") for part in parts))

    def run(self, *command, check=True):
        done = subprocess.run(["chroot", self.root, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                              env=ENVIRONMENT, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}")
        return done

    def _copy_package(self, list_file):
        shutil.copy(list_file, self.path(DATABASE, "info"))
        with open(list_file, encoding="utf-8") as file:
            paths = file.read().splitlines()
        for path in paths:
            if path.startswith(LEFT_OUT) or path == "/." or not os.path.lexists(path) or os.path.lexists(self.path(path)):
                continue
            mode = os.lstat(path).st_mode
            os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
            if stat.S_ISLNK(mode):
                os.symlink(os.readlink(path), self.path(path))
            elif stat.S_ISDIR(mode):
                os.mkdir(self.path(path))
                os.chmod(self.path(path), stat.S_IMODE(mode))
            elif stat.S_ISREG(mode) and os.access(path, os.R_OK):
                shutil.copy2(path, self.path(path))

    def _devices(self):
        for name in ("null", "urandom"):
            path = self.path("dev", name)
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, os.stat("/dev/" + name).st_rdev)
                os.chmod(path, 0o666)
                with open(path, "rb"):
                    pass
            except PermissionError:  # in a user namespace, or below a mount without devices
                with open(path, "ab"):
                    pass
                subprocess.run(["mount", "--bind", "/dev/" + name, path], check=True)

    def files(self):
        """Everything outside dpkg's database and log: {path: (mode, owner, group, content or target)}."""
        found = {}
        for directory, directories, files in os.walk(self.root):
            for name in directories + files:
                path = os.path.join(directory, name)
                inside = path[len(self.root):]
                if inside.startswith((DATABASE, "/dev/")) or inside == "/var/log/dpkg.log":
                    continue
                status = os.lstat(path)
                content = None
                if stat.S_ISLNK(status.st_mode):
                    content = os.readlink(path)
                elif stat.S_ISREG(status.st_mode):
                    content = (status.st_size, status.st_ino)  # dpkg and its scripts replace files, they do not write into them
                found[inside] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
        return found

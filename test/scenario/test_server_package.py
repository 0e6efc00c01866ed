"""The server's Debian package that the build made: what it unpacks works as the unit says, as a user of its own."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest
import requests
from servers import Server, free_port

ROOT = pathlib.Path(os.environ.get("CAIRN_SOURCE_DIR", pathlib.Path(__file__).parents[2]))


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.strip()


@pytest.fixture(scope="module")
def package():
    found = list((ROOT / "build" / os.environ.get("CAIRN_PRESET", "dev")).glob("cairn_*.deb"))
    assert len(found) == 1, f"the build made {found}"
    return found[0]


@pytest.fixture(scope="module")
def tree(package):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-package-"))
    folder.chmod(0o755)
    subprocess.run(["dpkg-deb", "-x", package, folder / "tree"], check=True, timeout=60)
    yield folder / "tree"
    shutil.rmtree(folder)


def test_it_needs_only_what_debian_has(package):
    assert output("dpkg-deb", "-f", package, "Version") == (ROOT / "VERSION").read_text().strip()
    for name in output("dpkg-deb", "-f", package, "Depends").split(", "):
        name = name.split()[0]
        # A library's package is installed here, as what was built with it; the others are named by hand.
        assert name in ("adduser", "postgresql-15") or (name.startswith(("lib", "zlib")) and output("dpkg-query", "-W", "-f", "${Status}", name)), name
    assert all(re.match(r"(drwxr-xr-x|-rwxr-xr-x|-rw-r--r--) root/root ", line) for line in output("dpkg-deb", "-c", package).splitlines())
    assert output("dpkg-deb", "-I", package, "conffiles") == "/etc/cairn/cairn.toml"


def test_its_unit_is_sound_and_hardened(tree):
    unit = tree / "lib/systemd/system/cairn.service"
    for target in ("network-online", "multi-user", "sysinit", "basic", "shutdown"):
        (unit.parent / f"{target}.target").write_text("[Unit]\n")
    verified = subprocess.run(["systemd-analyze", "verify", f"--root={tree}", "cairn.service"], capture_output=True, text=True, timeout=60)
    assert verified.returncode == 0 and "cairn.service" not in verified.stderr, verified.stderr
    # Ten is a service with no protection at all; systemd itself calls what is below 2 OK and safe.
    exposure = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", f"--root={tree}", "cairn.service"],
                              capture_output=True, text=True, timeout=60)
    assert exposure.returncode == 0, exposure.stdout[-500:]


def test_what_it_unpacks_serves_as_a_user_of_its_own(tree):
    data, port = pathlib.Path(tempfile.mkdtemp(prefix="cairn-package-data-")), free_port()
    if os.geteuid() == 0:
        shutil.chown(data, "postgres")
    # setpriv becomes the program, so that what ends it is what ends the server.
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    command = [*user, tree / "usr/bin/cairn", "serve", "--config", tree / "etc/cairn/cairn.toml"]
    server = Server(command, port, tree.parent / "log", {"CAIRN_DATA_DIR": str(data), "CAIRN_PORT": str(port)})
    try:
        server.wait()
        made = requests.post(f"{server.url}/api/2.0/mlflow/experiments/create", json={"name": "packaged"}, timeout=30)
        assert made.ok, made.text
        assert (data / "postgres").stat().st_uid == data.stat().st_uid
    finally:
        server.stop()
        shutil.rmtree(data)

"""A Ceph of one machine with its S3 gateway, in memory: monitor, manager, one OSD, radosgw."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import servers

_PROGRAMS = ("ceph", "ceph-authtool", "ceph-mgr", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_PATIENCE_S = 180
_CONFIG = """\
[global]
fsid = {fsid}
mon_host = v2:127.0.0.1:{monitor}/0
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
run_dir = {place}/run
admin_socket = {place}/run/$name.$pid.asok
log_file = {place}/log/$name.log
pid_file = {place}/run/$name.pid
keyring = {place}/keyring
mon_data = {place}/mon
mgr_data = {place}/mgr
osd_data = {place}/osd
rgw_data = {place}/rgw
mgr_initial_modules =
ms_bind_ipv6 = false
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_crit = 1
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 2147483648
osd_class_load_list = *
osd_class_default_list = *
# Without tcp_nodelay small answers take 40 ms.
rgw_frontends = beast endpoint=127.0.0.1:{door} tcp_nodelay=1
rgw_run_sync_thread = false
"""
# Who may do what: entity, then its capabilities.
_KEYS = (
    ("mon.", "mon", "allow *"),
    ("client.admin", "mon", "allow *", "osd", "allow *", "mgr", "allow *"),
    ("osd.0", "mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd"),
    ("mgr.x", "mon", "allow profile mgr", "osd", "allow *", "mds", "allow *"),
    ("client.rgw.a", "mon", "allow rw", "osd", "allow rwx", "mgr", "allow rw"),
)


def missing() -> list[str]:
    """The programs that are not installed here."""
    return [name for name in _PROGRAMS if shutil.which(name) is None]


@contextlib.contextmanager
def gateway(place: Path) -> Iterator[str]:
    """Yields the endpoint of the gateway, whose user has the tests' key and secret."""
    for name in ("run", "log", "mon", "mgr", "osd", "rgw"):
        (place / name).mkdir(parents=True)
    monitor, door = servers.lasting_port(), servers.lasting_port()
    fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
    config = str(place / "ceph.conf")
    Path(config).write_text(_CONFIG.format(fsid=fsid, monitor=monitor, door=door, place=place))

    def run(program: str, *words: str, with_config: bool = True) -> str:
        command = [program, *(["-c", config] if with_config else []), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True).stdout

    keyring, monmap = str(place / "keyring"), str(place / "monmap")
    try:
        address = f"[v2:127.0.0.1:{monitor}]"
        run("monmaptool", "--create", "--clobber", "--addv", "a", address, "--fsid", fsid, monmap, with_config=False)
        for number, (entity, *caps) in enumerate(_KEYS):
            pairs = [word for who, what in zip(caps[::2], caps[1::2], strict=True) for word in ("--cap", who, what)]
            new = ["--create-keyring"] if not number else []
            run("ceph-authtool", *new, keyring, "--gen-key", "-n", entity, *pairs, with_config=False)
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        run("ceph-mon", "-i", "a")
        run("ceph", "auth", "import", "-i", keyring)
        run("ceph-mgr", "-i", "x")
        run("ceph", "osd", "new", osd, "0")
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        run("ceph-osd", "-i", "0")
        _await(lambda: "1 up" in run("ceph", "osd", "stat"))
        run("radosgw", "-n", "client.rgw.a")
        endpoint = f"http://127.0.0.1:{door}"
        _await(lambda: servers.answers(endpoint))
        user = ["--uid=t", "--display-name=t", f"--access-key={servers.KEY}", f"--secret={servers.SECRET}"]
        run("radosgw-admin", "user", "create", *user)
        yield endpoint
    finally:
        for file in (place / "run").glob("*.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def _await(ready) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError("Ceph did not start")
        time.sleep(0.5)

"""The doctor: every check has an outcome, a finding, and advice where something is missing."""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from types import SimpleNamespace

import pytest

from tracekit import cli, doctor
from tracekit.cgroup import CpuLimit
from tracekit.doctor import machine, place, probe, recording, timing
from tracekit.errors import CannotRunError, InputError, UnknownSchemeError


def test_every_check_gives_an_outcome_here(tmp_path):
    """All checks run on this machine; what is missing comes with something to do; nothing is left behind."""
    checks = doctor.examine(str(tmp_path))

    assert len(checks) == len(doctor.MACHINE_CHECKS) + len(doctor.PLACE_CHECKS)
    assert len({check.name for check in checks}) == len(checks)
    for check in checks:
        assert check.outcome in doctor.OUTCOMES
        assert check.finding
        assert check.way_out or check.outcome == "ok"
    assert os.listdir(tmp_path) == []


def test_a_core_that_does_not_load_is_explained(monkeypatch):
    """Without the native core the import error is the reason."""
    monkeypatch.setitem(sys.modules, "tracekit._core", None)
    check = machine.check_core()

    assert check.outcome == "limited"
    assert "tracekit._core" in check.finding
    assert "compiler" in check.way_out


@pytest.mark.parametrize(("source", "outcome"), [("tsc", "ok"), ("hpet", "limited"), ("", "limited")])
def test_the_clock_source_matters(monkeypatch, source, outcome):
    """A CPU counter is fine, anything else or unknown is limited."""
    monkeypatch.setattr(probe, "text", lambda _: source)

    assert timing.check_clock().outcome == outcome


@pytest.mark.parametrize(("late", "outcome"), [(55_000, "ok"), (4_000_000, "limited")])
def test_late_timers_are_said(monkeypatch, late, outcome):
    """Sleeps that wake 4 ms late limit replays."""
    monkeypatch.setattr(timing, "_overshoot", lambda _: late)

    assert timing.check_timer().outcome == outcome


@pytest.mark.parametrize(
    ("error", "mode", "reason"),
    [(1, "0", "seccomp"), (1, "2", "kernel.io_uring_disabled = 2"), (38, "", "Function not implemented")],
)
def test_a_refused_io_uring_is_explained(monkeypatch, error, mode, reason):
    """EPERM by sysctl, EPERM by a container's filter and ENOSYS are different reasons."""
    monkeypatch.setattr(probe, "system_call", lambda *_: (-1, error))
    monkeypatch.setattr(probe, "text", lambda _: mode)
    check = machine.check_io_uring()

    assert check.outcome == "limited"
    assert reason in check.finding


def test_real_time_priority_needs_a_capability_or_a_limit(monkeypatch):
    """CAP_SYS_NICE (bit 23) or RLIMIT_RTPRIO above 0 permit it."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (0, 0))
    monkeypatch.setattr(probe, "text", lambda _: "CapEff:\t0000000000800000")
    assert timing.check_realtime().outcome == "ok"
    monkeypatch.setattr(probe, "text", lambda _: "CapEff:\t0000000000000000")
    assert timing.check_realtime().outcome == "limited"
    monkeypatch.setattr("resource.getrlimit", lambda _: (50, 50))
    assert timing.check_realtime().outcome == "ok"


def test_what_is_not_installed_is_missing_or_limited(monkeypatch):
    """No strace, no torch, no /proc/meminfo: each says so."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(machine, "_is_installed", lambda name: name == "h5py")
    monkeypatch.setattr(probe, "text", lambda _: "")

    assert recording.check_strace().outcome == "missing"
    assert machine.check_frameworks().finding == "h5py; torch is not installed"
    assert machine.check_memory().outcome == "limited"


def test_without_a_place_for_temporary_files_that_is_what_is_said(monkeypatch):
    """Neither the core nor ptrace is to blame where the trial cannot be made."""
    monkeypatch.setattr(recording, "_has_core", lambda: True)
    monkeypatch.setattr(recording.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(recording.tempfile, "gettempdir", lambda: _raise(FileNotFoundError()))
    for check in (recording.check_recorder(), recording.check_strace()):
        assert (check.outcome, check.way_out) == ("limited", "do what is said of temporary files")


def _raise(error):
    raise error


def test_looking_for_frameworks_does_not_import_them():
    """Frameworks are found without being loaded."""
    before = set(sys.modules)
    machine.check_frameworks()

    assert not {"torch", "tensorflow", "jax"} & (set(sys.modules) - before)


@pytest.mark.parametrize(("limit", "outcome", "words"), [(256 << 20, "limited", "256 MiB, which"), (1 << 30, "ok", "1 GiB, which"), (None, "ok", "8 GiB available"), (1 << 60, "ok", "8 GiB available")])  # fmt: skip
def test_the_memory_of_a_container_is_what_it_may_take(monkeypatch, limit, outcome, words):
    """The machine's free memory is not there for a control group with a limit below it."""
    monkeypatch.setattr(probe, "text", lambda _: f"MemAvailable: {8 << 20} kB")
    monkeypatch.setattr(machine, "memory_limit", lambda: limit)
    check = machine.check_memory()
    assert (check.outcome, check.finding.startswith(words)) == (outcome, True)


def test_a_file_system_that_refuses_direct_io(monkeypatch, tmp_path):
    """EINVAL on open, and reads refused at every alignment, are both missing O_DIRECT."""
    real = os.open

    def refusing(path, flags, *rest):
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return real(path, flags, *rest)

    monkeypatch.setattr("os.open", refusing)
    assert place.check_direct(str(tmp_path)).outcome == "missing"
    monkeypatch.setattr("os.open", lambda path, flags, *rest: real(path, flags & ~os.O_DIRECT, *rest))
    monkeypatch.setattr(place, "_reads_aligned", lambda *_: False)
    assert place.check_direct(str(tmp_path)).finding == "reads are refused at every alignment tried"


def test_without_cachestat_mincore_is_named(monkeypatch, tmp_path):
    """An older kernel measures residency by mincore."""
    monkeypatch.setattr(probe, "system_call", lambda *_: (-1, 38))
    check = place.check_residency(str(tmp_path))

    assert (check.outcome, "mincore" in check.finding) == ("limited", True)


def test_every_check_says_the_way_out_in_a_locked_down_container(monkeypatch, tmp_path):
    """No core, no io_uring, no real-time priority, no strace, a read-only home, 64 MiB of shared memory, few files, half a core."""
    monkeypatch.setitem(sys.modules, "tracekit._core", None)
    monkeypatch.setattr(probe, "system_call", lambda *_: (-1, 1))
    monkeypatch.setattr(probe, "text", lambda _: "")
    monkeypatch.setattr("resource.getrlimit", lambda kind: (0, 1024 if kind == resource.RLIMIT_NOFILE else 0))
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=64 << 20, free=64 << 20))
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
    monkeypatch.setattr(machine, "_is_installed", lambda _: False)
    monkeypatch.setattr(CpuLimit, "now", lambda: CpuLimit(0.5))
    monkeypatch.setenv("HOME", str(tmp_path))
    checks = {check.name: check for check in (look() for look in doctor.MACHINE_CHECKS)}

    well = {name for name, check in checks.items() if check.outcome == "ok"}
    assert well <= {"python", "/proc/self/io", "timer"}
    assert all(check.way_out for name, check in checks.items() if name not in well)
    for name in ("recorder", "mapped pages"):
        assert "do what is said of the native core" in checks[name].way_out
    assert "--shm-size" in checks["shared memory"].way_out
    assert "allows 0.5 of them" in checks["processors"].finding


def test_what_cannot_be_tried_says_how_it_could_be(monkeypatch, tmp_path):
    """A directory that may be read and not written, with no file named."""
    monkeypatch.setattr("tempfile.mkstemp", _refuse)
    for check in (place.check_direct(str(tmp_path)), place.check_residency(str(tmp_path))):
        assert (check.outcome, check.way_out) == ("limited", place._NAME_ONE)


def _refuse(**_):
    raise PermissionError(13, "Permission denied")


def test_without_shared_memory_the_way_out_is_said(monkeypatch):
    """A container without /dev/shm at all."""
    monkeypatch.setattr(machine, "SHARED_MEMORY", "/no/such/place")
    check = machine.check_shared_memory()
    assert (check.outcome, "num_workers=0" in check.way_out) == ("limited", True)


@pytest.mark.parametrize("scheme", ["", "file://", "direct://"])
def test_local_schemes_look_at_the_same_place(tmp_path, scheme):
    """A path, file:// and direct:// name the same directory."""
    names = [check.name for check in doctor.examine(f"{scheme}{tmp_path}")]
    assert names[-3:] == ["file system", "O_DIRECT", "cache residency"]


def test_the_page_of_errors_names_every_check(repository, tmp_path):
    """Each check of a machine and of a place has its row on the page, and no row is left over."""
    page = (repository / "docs/reference/errors.md").read_text().partition("## What the doctor looks at")[2]
    named = set(re.findall(r"^\| <a id=\"doctor-[^\"]*\"></a>`([^`]+)`", page.partition("\n## ")[0], re.MULTILINE))
    assert named == {check.name for check in doctor.examine(str(tmp_path))} | {"s3 by obstore"}


def test_a_place_that_is_unusable_is_refused(tmp_path, monkeypatch):
    """A wrong scheme, nothing there, an object store and no permission are errors with their exit codes."""
    with pytest.raises(UnknownSchemeError):
        doctor.examine("s4://b")
    with pytest.raises(InputError, match="there is nothing at"):
        doctor.examine(str(tmp_path / "no"))
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for uri in ("s3://b/k", "az://c/k"):
        with pytest.raises(CannotRunError, match=r"nothing says|credentials"):
            doctor.examine(uri)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(CannotRunError, match="cannot be read"):
        doctor.examine(str(tmp_path))


def test_the_verb_shows_a_table_and_json(tmp_path, capsys):
    """The table names every check, JSON has the same; both exit 0; the last line is the next command."""
    assert cli.main(["doctor", str(tmp_path)]) == 0
    text = capsys.readouterr()
    assert cli.main(["doctor", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)

    assert data["doctor"] == 1
    assert all(check["name"] in text.out for check in data["checks"])
    assert text.err.strip().splitlines()[-1].startswith("next: tracekit record")


@pytest.mark.parametrize(("uri", "code"), [("s4://b", 2), ("/no/such/place", 2), ("s3://b", 4)])
def test_the_verb_exits_with_the_reason(uri, code, capsys):
    """An unusable URI is exit 2 or 4 and one sentence."""
    assert cli.main(["doctor", uri]) == code
    assert capsys.readouterr().err.startswith("tracekit: error: ")

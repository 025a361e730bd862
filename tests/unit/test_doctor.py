"""The doctor: every check has an outcome, a finding, and advice where something is missing."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tracekit import cli, doctor
from tracekit.errors import CannotRunError, InputError, UnknownSchemeError


def test_every_check_gives_an_outcome_here(tmp_path):
    """All checks run on this machine; what is missing comes with something to do; nothing is left behind."""
    checks = doctor.examine(str(tmp_path))

    assert len(checks) == len(doctor.MACHINE_CHECKS) + len(doctor.PLACE_CHECKS)
    assert len({check.name for check in checks}) == len(checks)
    for check in checks:
        assert check.outcome in doctor.OUTCOMES
        assert check.finding
        assert check.way_out or check.outcome != "missing"
    assert os.listdir(tmp_path) == []


def test_a_core_that_does_not_load_is_explained(monkeypatch):
    """Without the native core the import error is the reason."""
    monkeypatch.setitem(sys.modules, "tracekit._core", None)
    check = doctor.check_core()

    assert check.outcome == "limited"
    assert "tracekit._core" in check.finding
    assert "compiler" in check.way_out


@pytest.mark.parametrize(("source", "outcome"), [("tsc", "ok"), ("hpet", "limited"), ("", "limited")])
def test_the_clock_source_matters(monkeypatch, source, outcome):
    """A CPU counter is fine, anything else or unknown is limited."""
    monkeypatch.setattr(doctor, "_text", lambda _: source)

    assert doctor.check_clock().outcome == outcome


@pytest.mark.parametrize(("late", "outcome"), [(55_000, "ok"), (4_000_000, "limited")])
def test_late_timers_are_said(monkeypatch, late, outcome):
    """Sleeps that wake 4 ms late limit replays."""
    monkeypatch.setattr(doctor, "_overshoot", lambda _: late)

    assert doctor.check_timer().outcome == outcome


@pytest.mark.parametrize(
    ("error", "mode", "reason"),
    [(1, "0", "seccomp"), (1, "2", "kernel.io_uring_disabled = 2"), (38, "", "Function not implemented")],
)
def test_a_refused_io_uring_is_explained(monkeypatch, error, mode, reason):
    """EPERM by sysctl, EPERM by a container's filter and ENOSYS are different reasons."""
    monkeypatch.setattr(doctor, "_syscall", lambda *_: (-1, error))
    monkeypatch.setattr(doctor, "_text", lambda _: mode)
    check = doctor.check_io_uring()

    assert check.outcome == "limited"
    assert reason in check.finding


def test_real_time_priority_needs_a_capability_or_a_limit(monkeypatch):
    """CAP_SYS_NICE (bit 23) or RLIMIT_RTPRIO above 0 permit it."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (0, 0))
    monkeypatch.setattr(doctor, "_text", lambda _: "CapEff:\t0000000000800000")
    assert doctor.check_realtime().outcome == "ok"
    monkeypatch.setattr(doctor, "_text", lambda _: "CapEff:\t0000000000000000")
    assert doctor.check_realtime().outcome == "limited"
    monkeypatch.setattr("resource.getrlimit", lambda _: (50, 50))
    assert doctor.check_realtime().outcome == "ok"


def test_what_is_not_installed_is_missing_or_limited(monkeypatch):
    """No strace, no torch, no /proc/meminfo: each says so."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(doctor, "_is_installed", lambda name: name == "h5py")
    monkeypatch.setattr(doctor, "_text", lambda _: "")

    assert doctor.check_strace().outcome == "missing"
    assert doctor.check_frameworks().finding == "h5py; torch is not installed"
    assert doctor.check_memory().outcome == "limited"


def test_looking_for_frameworks_does_not_import_them():
    """Frameworks are found without being loaded."""
    before = set(sys.modules)
    doctor.check_frameworks()

    assert not {"torch", "tensorflow", "jax"} & (set(sys.modules) - before)


def test_a_file_system_that_refuses_direct_io(monkeypatch, tmp_path):
    """EINVAL on open, and reads refused at every alignment, are both missing O_DIRECT."""
    real = os.open

    def refusing(path, flags, *rest):
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return real(path, flags, *rest)

    monkeypatch.setattr("os.open", refusing)
    assert doctor.check_direct(str(tmp_path)).outcome == "missing"
    monkeypatch.setattr("os.open", lambda path, flags, *rest: real(path, flags & ~os.O_DIRECT, *rest))
    monkeypatch.setattr(doctor, "_reads_aligned", lambda *_: False)
    assert doctor.check_direct(str(tmp_path)).finding == "reads are refused at every alignment tried"


def test_without_cachestat_mincore_is_named(monkeypatch, tmp_path):
    """An older kernel measures residency by mincore."""
    monkeypatch.setattr(doctor, "_syscall", lambda *_: (-1, 38))
    check = doctor.check_residency(str(tmp_path))

    assert (check.outcome, "mincore" in check.finding) == ("limited", True)


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

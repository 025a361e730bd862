"""The verb itself: what it does when writing the trace is interrupted or fails."""

from __future__ import annotations

import argparse
import errno
import os

import pytest

from tracekit import cli
from tracekit.errors import EXIT_RECORDER, RecorderError
from tracekit.record import finish, launch
from tracekit.record.coverage import WHY_UNCOUNTED
from tracekit.verbs import record


@pytest.fixture
def recording(tmp_path):
    """A run whose program has ended, with its parts."""
    return launch.prepare(launch.Plan(["true"], str(tmp_path / "t.jsonl")))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), MemoryError()])
def test_parts_stay_when_writing_fails(recording, monkeypatch, error):
    """Interrupted or failing while the trace is written, the parts stay and the message says how to go on."""

    def failing(_run):
        raise error

    monkeypatch.setattr(finish, "finish", failing)
    with pytest.raises(RecorderError, match="--merge") as caught:
        record._finish(recording)
    assert caught.value.exit_code == 125
    assert os.path.isdir(recording.parts)
    assert recording.parts in str(caught.value)


def test_a_full_disk_is_named_with_the_trace(recording, monkeypatch):
    """What the system refuses is said in its words, without its number, and which trace it was."""

    def failing(_run):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(finish, "finish", failing)
    with pytest.raises(RecorderError) as caught:
        record._finish(recording)

    assert caught.value.cause == f"the trace {recording.output} could not be written: No space left on device"


def test_parts_go_when_the_trace_stands(recording, capsys):
    """After the trace is complete under its name the parts are removed, and the next command is the last line."""
    record._finish(recording)
    assert not os.path.exists(recording.parts)
    assert os.path.exists(recording.output)
    talk = capsys.readouterr()
    assert talk.out == ""
    assert talk.err.splitlines()[-1].startswith("next: tracekit stats ")
    # Nothing ran, so nothing was counted; a recording without its certificate says so.
    assert WHY_UNCOUNTED in talk.err


def test_run_comes_back_from_its_note(recording):
    """What the launcher knows is read again from the parts as it was written."""
    recording.pid, recording.status, recording.kernel_bytes = 5, 3, 1000
    recording.note()
    assert launch.Run.load(recording.parts) == recording


def test_directory_without_parts_is_refused(tmp_path):
    """--merge of anything but a parts directory is one sentence."""
    with pytest.raises(RecorderError, match="holds no recorded parts"):
        launch.Run.load(str(tmp_path))


def test_help_names_every_option_and_the_rule():
    """The help says what is recorded by default and which option wins."""
    parser = argparse.ArgumentParser()
    record.configure(parser)
    text = parser.format_help()
    for word in (
        "--include",
        "--exclude",
        "--engine",
        "--redact-uris",
        "--force",
        "--merge",
        "--exclude always wins",
        "125",
    ):
        assert word in " ".join(text.split())


def test_what_the_system_refuses_ends_in_the_recorders_own_status(monkeypatch, capsys):
    """4 could be the program's status: what nobody foresaw is 125 like every other failure of record itself."""

    def refuse(_args):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(record, "_record", refuse)
    assert cli.main(["record", "--", "true"]) == EXIT_RECORDER
    said = capsys.readouterr().err
    assert said.startswith("tracekit: error: the system refused something: Too many open files; look")
    assert said.endswith("[recorder]\n")

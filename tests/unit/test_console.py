"""The terminal: data to stdout, talk to stderr, colour and progress only where they are wanted."""

from __future__ import annotations

import io

import pytest

from tracekit import console


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """It is one."""
        return True


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(console, "_drawn", False)
    console.set_quiet(quiet=False)
    yield
    console.set_quiet(quiet=False)


def test_results_and_talk_go_different_ways(capsys):
    """`show` is stdout; `say`, `warn` and `complain` are stderr."""
    console.show("data")
    console.say("talk")
    console.warn("careful")
    console.complain("tracekit", "it broke")
    found = capsys.readouterr()

    assert found.out == "data\n"
    assert found.err == "talk\nwarning: careful\ntracekit: error: it broke\n"


def test_quiet_leaves_out_remarks_only(capsys):
    """Quiet silences remarks, not warnings, errors and results."""
    console.set_quiet(quiet=True)
    console.say("talk")
    console.warn("careful")
    console.show("data")
    found = capsys.readouterr()

    assert (found.out, found.err) == ("data\n", "warning: careful\n")


@pytest.mark.parametrize(
    ("variables", "stream", "coloured"),
    [
        ({}, Terminal(), True),
        ({}, io.StringIO(), False),
        ({"NO_COLOR": "1"}, Terminal(), False),
        ({"NO_COLOR": ""}, Terminal(), True),
        ({"FORCE_COLOR": "1"}, io.StringIO(), True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, Terminal(), False),
        ({"TERM": "dumb"}, Terminal(), False),
        ({"CLICOLOR": "0"}, Terminal(), False),
        ({"CLICOLOR_FORCE": "1", "CLICOLOR": "0"}, io.StringIO(), True),
        ({"CLICOLOR_FORCE": "0"}, io.StringIO(), False),
        ({"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, io.StringIO(), False),
    ],
)
def test_colour_is_for_terminals_that_want_it(monkeypatch, variables, stream, coloured):
    """NO_COLOR (when not empty) wins over FORCE_COLOR and CLICOLOR_FORCE, which win over CLICOLOR=0 and what the stream is."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert (console.paint("x", "bad", stream) != "x") is coloured


def test_tables_align_by_what_is_seen(monkeypatch):
    """Colour codes take no width; columns to the right are right-aligned; no line ends in spaces."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    red = console.paint("ab", "bad")
    text = console.table([("x", red, "1"), ("longer", "c", "100")], ("name", "state", "n"), right=(2,))

    assert text.splitlines() == ["name    state    n", f"x       {red}       1", "longer  c      100"]
    assert console.table([], ("a", "b")) == "a  b"


def test_progress_is_one_live_line_on_a_terminal(monkeypatch):
    """On a terminal the line is rewritten in place and gone at the end."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    clock = iter([0.0, 1.0, 1.01, 2.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with console.Progress("reading", 200) as progress:
        progress.update(100, "fine")
        progress.update(101)
        progress.update(150)

    lines = stream.getvalue().split("\r\x1b[K")
    assert lines == [
        "",
        "reading 100/200 ops (50 %) · 1 s left · 100 ops/s · fine",
        "reading 150/200 ops (75 %) · 1 s left · 75 ops/s",
        "",
    ]


def test_whatever_is_said_clears_the_line_of_progress(monkeypatch):
    """A remark, a warning, an error or a result in the middle of a job begins at the left of an empty line."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    clock = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = console.Progress("reading", 200)
    for speak in (console.say, console.warn, lambda text: console.complain("p", text), console.show):
        progress.update(100)
        speak("word")

    assert stream.getvalue().count("\r\x1b[Kreading") == 4
    assert stream.getvalue().count("\r\x1b[K") == 8
    assert stream.getvalue().endswith("\r\x1b[K")


def test_bytes_are_shown_as_such(monkeypatch, capsys):
    """What is counted in bytes is scaled, and so is its rate."""
    clock = iter([0.0, 20.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    console.Progress("preparing", 4 << 30, "B").update(1 << 30)

    assert capsys.readouterr().err == "preparing 1 GiB/4 GiB (25 %) · 1 min 0 s left · 51.2 MiB/s\n"


def test_a_schedule_says_what_is_left(monkeypatch, capsys):
    """The time left of a schedule is not guessed from the rate, until the schedule is over and the work is not."""
    clock = iter([0.0, 10.0, 20.0, 30.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = console.Progress("replaying", 1000)
    progress.update(1, left_s=15.0)
    progress.update(500, left_s=5.0)
    progress.update(750, left_s=-5.0)

    assert [line.split(" · ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "15 s left",
        "5 s left",
        "10 s left",
    ]


def test_time_that_passes_has_no_rate(monkeypatch, capsys):
    """What is counted in seconds is said as such: a rate of it would be one second a second."""
    clock = iter([0.0, 20.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    console.Progress("judging", unit="s").update(20)

    assert capsys.readouterr().err == "judging 20 s\n"


def test_no_time_left_is_foretold_from_next_to_nothing(monkeypatch, capsys):
    """Below one percent the line has no time left: 1 op of 1,000 after a slow second would say 999 s."""
    clock = iter([0.0, 11.0, 22.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = console.Progress("reading", 1000)
    progress.update(9)
    progress.update(10)
    first, second = capsys.readouterr().err.splitlines()

    assert "left" not in first
    assert "36 min 18 s left" in second


def test_progress_elsewhere_is_a_line_now_and_then(monkeypatch, capsys):
    """Off a terminal there is one line in ten seconds, without control codes; quiet has none."""
    clock = iter([0.0, 5.0, 10.5, 11.0, 0.0, 100.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with console.Progress("reading", unit="lines") as progress:
        for count in (5, 21, 22):
            progress.update(count)
    console.set_quiet(quiet=True)
    console.Progress("reading").update(3)

    assert capsys.readouterr().err == "reading 21 lines · 2 lines/s\n"


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (80, "reading 100/200 ops (50 %) · 1 s left · 100 ops/s · fast · late"),
        (60, "reading 100/200 ops (50 %) · 1 s left · 100 ops/s · fast"),
        (45, "reading 100/200 ops (50 %) · 1 s left"),
        (20, "reading 100/200 ops"),
    ],
)
def test_a_narrow_line_leaves_out_what_comes_last(monkeypatch, columns, shown):
    """Whole parts go, never half a number; only the first is cut, where not even that fits."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(console, "width", lambda _: columns)
    clock = iter([0.0, 1.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    console.Progress("reading", 200).update(100, "fast", "", "late")

    assert stream.getvalue().removeprefix("\r\x1b[K") == shown

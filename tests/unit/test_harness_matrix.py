"""The cache matrix: what must be equal, what must differ, and the fakes that must not get by."""

from dataclasses import replace

import numpy as np
import pytest

from harness import cells, cli, mutations
from harness.cells import CellRun, Refused, pages_asked
from harness.divergence import judge
from harness.report import html, json, junit, markdown, rows, text
from harness.verdict import Outcome
from tracekit import formats
from tracekit.errors import CannotRunError
from tracekit.metrics.view import View
from tracekit.testing import training_trace
from tracekit.trace import Op, Trace, Trailer

US = 1_000
PAGES = 1_000
# A storage that takes 400 µs where the page cache takes 20.
TIMES = {"buffered": 20 * US, "cold": 300 * US, "random": 350 * US, "sequential": 250 * US, "direct": 400 * US}
BEFORE = {"buffered": PAGES, "cold": 0, "random": 0, "sequential": 0, "direct": 0}
AFTER = {"buffered": PAGES, "cold": 800, "random": 520, "sequential": 900, "direct": 0}
ASKED = 520


def recording():
    """Two streams that read 520 different pages, each once."""
    ops = [
        Op(f"file:///data/{n % 4}", 8192 * (n // 4), 8192, n * 1_000 * US, t_complete=n * 1_000 * US + 50 * US, ret=8192, pid=1, tid=1 + n % 2)
        for n in range(260)
    ]  # fmt: skip
    return Trace.of(ops, trailer=Trailer(ops=len(ops)))


def replayed(name, *, service=None, before=None, after=None, run=None):
    """A replay of the recording as that scenario shows itself, or otherwise where a test says so."""
    trace = recording()
    service = TIMES[name] if service is None else service
    edited = mutations.with_columns(trace, {"t_complete": trace.col("t_submit") + service})
    tables = {
        when: {"pages": PAGES, "resident": resident}
        for when, resident in (
            ("before", BEFORE[name] if before is None else before),
            ("after", AFTER[name] if after is None else after),
        )
    }
    files = {"direct_files": 4 if name == "direct" else 0, "direct_fallback_files": 0}
    return replace_trailer(edited, residency=tables, run=files | (run or {}))


def replace_trailer(trace, **changes):
    """The trace with another trailer."""
    return Trace(
        trace.columns, trace.tables, trace.marks, trace.header, replace(trace.trailer, **changes), trace.warnings
    )


def matrix(runs=3, refused=None, **changed):
    """The verdict on all cells; a cell's replays are made with other facts, or left out (None), where a test says so."""
    there = {}
    for name, usual in TIMES.items():
        facts = changed.get(name, {})
        if facts is not None and name not in (refused or {}):
            # Three runs that differ a little, as real ones do.
            service = facts.pop("service", usual)
            there[name] = [
                (replayed(name, service=round(service * (1 + 0.05 * number)), **facts), None) for number in range(runs)
            ]
    return judge(recording(), there, {name: Refused(why) for name, why in (refused or {}).items()}, "train.jsonl")


def outcomes(verdict):
    """Outcome by criterion."""
    return {finding.id: finding.outcome for finding in verdict.findings}


def reason(verdict, name):
    """What a criterion says."""
    return next(finding.reason for finding in verdict.findings if finding.id == name)


def test_cells_that_differ_as_they_must_pass():
    """All sixteen criteria, and the table of cells shows what they rest on."""
    verdict = matrix()
    assert verdict.outcome is Outcome.PASS
    assert set(outcomes(verdict).values()) == {Outcome.PASS}
    assert len(verdict.findings) == 16
    (table,) = verdict.tables
    assert [row[0] for row in table.rows] == list(TIMES)
    assert table.rows[4][5:7] == ("0%", "0%")
    accepted = {row.finding.id: row.band for row in rows.tabulate(verdict).rows}
    assert accepted["start.cold"] == "≤ 0.02"
    assert accepted["start.buffered"] == "≥ 0.98"
    assert accepted["slower.direct"] == "≥ ×1.2"


def test_a_direct_run_as_fast_as_the_page_cache_fails():
    """It says it was direct, left nothing in the cache, and takes what memory takes: it was not."""
    verdict = matrix(direct={"service": TIMES["buffered"]})
    assert verdict.outcome is Outcome.FAIL
    assert [finding.id for finding in verdict.failed] == ["slower.direct"]
    assert "direct is as fast as the page cache" in reason(verdict, "slower.direct")


def test_a_direct_run_that_fills_the_page_cache_fails():
    """Its pages are resident afterwards, so it went through the cache."""
    verdict = matrix(direct={"after": PAGES})
    assert [finding.id for finding in verdict.failed] == ["direct.leaves"]


@pytest.mark.parametrize("run", [{"direct_fallback_files": 1}, {"direct_files": 0}])
def test_a_direct_run_that_fell_back_fails(run):
    """One file of four is enough; so is a replay that never opened one with O_DIRECT."""
    assert [finding.id for finding in matrix(direct={"run": run}).failed] == ["direct.files"]


def test_a_cold_run_whose_pages_were_resident_fails():
    """However slow it was for some other reason."""
    verdict = matrix(cold={"before": PAGES // 2})
    assert [finding.id for finding in verdict.failed] == ["start.cold"]
    assert reason(verdict, "start.cold").startswith("50.0% of the files' pages were resident when cold began")


def test_a_buffered_run_that_was_cold_in_part_fails():
    """What is called buffered must have come from memory."""
    assert "start.buffered" in [finding.id for finding in matrix(buffered={"before": PAGES // 2}).failed]


def test_storage_as_fast_as_memory_leaves_it_open():
    """Cold is provably cold and takes what buffered takes: nothing is wrong, and nothing can be decided."""
    verdict = matrix(cold={"service": TIMES["buffered"]}, direct={"service": TIMES["buffered"]})
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert outcomes(verdict)["slower.cold"] is Outcome.INCONCLUSIVE
    assert outcomes(verdict)["slower.direct"] is Outcome.INCONCLUSIVE
    assert "this storage shows no difference" in reason(verdict, "slower.cold")


def test_runs_that_overlap_leave_it_open():
    """One buffered run was disturbed and is as slow as a cold one: more runs would tell."""
    cells = {name: [(replayed(name), None)] * 3 for name in TIMES}
    cells["buffered"] = [*cells["buffered"][:2], (replayed("buffered", service=TIMES["direct"]), None)]
    verdict = judge(recording(), cells, {}, "train.jsonl")
    assert outcomes(verdict)["slower.direct"] is Outcome.INCONCLUSIVE
    assert "the runs overlap" in reason(verdict, "slower.direct")


def test_advice_that_had_no_effect_fails():
    """Random advice that read ahead; sequential advice that read less ahead than random."""
    assert [finding.id for finding in matrix(random={"after": 800}).failed] == ["ahead.random"]
    assert [finding.id for finding in matrix(sequential={"after": 400}).failed] == ["ahead.sequential"]


def test_where_nothing_can_be_read_ahead_nothing_is_said_about_it():
    """A trace that reads every page, and reads that jump."""
    whole = {name: {"before": None if name == "buffered" else 0} for name in TIMES}
    cells = {name: [(shrunk(replayed(name)), None)] for name in whole}
    found = outcomes(judge(recording(), cells, {}, "train.jsonl"))
    assert found["ahead.random"] is found["ahead.sequential"] is Outcome.NA
    verdict = matrix(sequential={"after": AFTER["random"]})
    assert outcomes(verdict)["ahead.sequential"] is Outcome.NA
    assert "the reads jump" in reason(verdict, "ahead.sequential")


def shrunk(trace):
    """The replay on files that have just the pages that are read."""
    tables = {
        when: {"pages": ASKED, "resident": min(ASKED, table["resident"])}
        for when, table in trace.trailer.residency.items()
    }
    return replace_trailer(trace, residency=tables)


@pytest.mark.parametrize("mutation", [mutations.halved_sizes, mutations.every_second, mutations.shuffled])
def test_a_cell_with_other_requests_fails(mutation):
    """Another experiment must not be compared, however plausible its times."""
    cells = {name: [(replayed(name), None)] for name in TIMES}
    cells["cold"] = [(mutation(cells["cold"][0][0]), None)]
    verdict = judge(recording(), cells, {}, "train.jsonl")
    assert "intent.cold" in [finding.id for finding in verdict.failed]
    assert reason(verdict, "intent.cold").startswith("run 1 of cold is not the recording: ")


def test_what_is_not_there_is_not_judged_and_said():
    """A file system without O_DIRECT: its criteria are N/A with the reason, the rest is judged."""
    verdict = matrix(refused={"direct": "tmpfs refuses O_DIRECT"})
    found = outcomes(verdict)
    assert found["slower.direct"] is found["direct.files"] is found["direct.leaves"] is Outcome.NA
    assert "tmpfs refuses O_DIRECT" in reason(verdict, "slower.direct")
    assert verdict.outcome is Outcome.PASS
    assert "there is no direct cell: tmpfs refuses O_DIRECT" in verdict.notes


def test_without_a_cold_cell_a_fast_direct_one_is_open():
    """Nobody knows what this storage looks like."""
    verdict = matrix(cold=None, direct={"service": TIMES["buffered"]})
    assert outcomes(verdict)["slower.direct"] is Outcome.NA


def test_replays_that_do_not_tell_decide_nothing():
    """No trailer: no residency, so no cell is known to be what it says."""
    cells = {name: [(replace_trailer(replayed(name), residency={}), None)] for name in TIMES}
    found = outcomes(judge(recording(), cells, {}, "train.jsonl"))
    assert {found[f"start.{name}"] for name in TIMES} == {Outcome.NA}
    assert found["direct.leaves"] is Outcome.NA


def test_cells_that_show_nothing_of_the_page_cache_do_not_pass():
    """A cold cell alone that does not tell what was resident: the same requests, and nothing else; that is open."""
    verdict = judge(recording(), {"cold": [(replace_trailer(replayed("cold"), residency={}), None)]}, {}, "t.jsonl")
    assert outcomes(verdict)["intent.cold"] is Outcome.PASS
    assert verdict.outcome is outcomes(verdict)["valid.cells"] is Outcome.INCONCLUSIVE
    told = judge(recording(), {"cold": [(replayed("cold"), None)]}, {}, "t.jsonl")
    assert told.outcome is Outcome.PASS
    assert "valid.cells" not in outcomes(told)


def test_only_a_refusal_takes_a_cell_away(tmp_path, monkeypatch):
    """Statuses 2 and 4 refuse a scenario here; a replay that died or broke is an error, not a cell that cannot be had."""
    direct = [cells.SCENARIOS["direct"]]
    for status in (2, 4):
        monkeypatch.setattr(cells, "_replay", lambda *_args, status=status: (status, 0, "why"))
        found = [done for _, _, done, _ in cells.replayed("t.jsonl", direct, 1, [], tmp_path)]
        assert found == [Refused("why")]
    for status in (1, -11, 130):
        monkeypatch.setattr(cells, "_replay", lambda *_args, status=status: (status, 0, "it died"))
        with pytest.raises(CannotRunError, match="it died"):
            list(cells.replayed("t.jsonl", direct, 1, [], tmp_path))


def test_pages_are_counted_once():
    """Overlapping and repeated reads of two files, a read across a page's edge, one that moved nothing, one behind the end."""
    rows = [("a", 0, 4096), ("a", 100, 10), ("a", 4000, 200), ("b", 0, 8192), ("b", 4096, 8192), ("a", 40_960, 0)]
    ops = [Op(f"file:///{file}", offset, 1 << 20, n, ret=moved) for n, (file, offset, moved) in enumerate(rows)]
    assert pages_asked(View.of(Trace.of(ops))) == 2 + 3
    assert pages_asked(View.of(recording())) == ASKED


def test_reads_at_the_end_of_a_file_do_not_count_as_fast():
    """They move nothing and touch no storage; half of a program's reads may be such."""
    trace = training_trace(files=4, batch=2)
    run = CellRun.of(trace)
    moved = trace.col("ret") > 0
    service = (trace.col("t_complete") - trace.col("t_submit"))[moved]
    assert run.mean_ns == float(service.mean())
    assert run.bytes == int(np.asarray(trace.col("ret"), np.int64).sum())


def test_every_rendering_has_the_cells():
    """Text, Markdown and HTML show the table; JSON has its figures; JUnit a testcase per criterion."""
    verdict = matrix()
    for rendering in (text.render(verdict), markdown.render(verdict), html.render(verdict)):
        assert "resident before" in rendering
        assert "slower.direct" in rendering
    assert json.summary(verdict)["candidates"][4]["median_p50_ns"] == pytest.approx(420 * US)
    assert junit.render(verdict).count("<testcase") == 16


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """The recording and a replay for each cell, a fake direct one among them."""
    formats.save(recording(), tmp_path / "train.jsonl")
    for name in TIMES:
        formats.save(replayed(name), tmp_path / f"{name}.jsonl")
    formats.save(replayed("direct", service=TIMES["buffered"]), tmp_path / "fake.jsonl")
    return tmp_path


def test_the_traces_of_an_earlier_matrix_are_kept(files, capsys):
    """`-o DIR` replaces what lies there with --force only, and a file in its place is one sentence."""
    (files / "kept").mkdir()
    (files / "kept/cold.1.jsonl").write_text("mine")
    assert cli.main(["matrix", "train.jsonl", "-o", "kept"]) == 2
    assert "kept/cold.1.jsonl exists already" in capsys.readouterr().err
    assert cli.main(["matrix", "train.jsonl", "-o", "train.jsonl"]) == 2
    assert "train.jsonl cannot be made" in capsys.readouterr().err
    assert (files / "kept/cold.1.jsonl").read_text() == "mine"


def test_replays_that_are_there_can_be_judged(files, capsys):
    """Nothing is run; the exit code is the verdict's, and a summary is written."""
    given = [word for name in TIMES for word in ("--cell", f"{name}={name}.jsonl")]
    assert cli.main(["matrix", "train.jsonl", *given, "--json", "m.json", "--html", "m.html"]) == 0
    assert capsys.readouterr().out.startswith("PASS  buffered, cold, random, sequential, direct against train.jsonl")
    assert (files / "m.html").stat().st_size < 200_000
    given[-1] = "direct=fake.jsonl"
    assert cli.main(["matrix", "train.jsonl", *given]) == 1
    assert "FAIL  slower.direct: direct is as fast as the page cache" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cell", "cold"], "--cell 'cold' is not CELL=TRACE"),
        (["--cell", "icy=cold.jsonl"], "there is no cell 'icy'"),
        (["--only", "cold,derict"], "there is no cell 'derict'; did you mean 'direct'?"),
        (["--runs", "0"], "--runs 0 is too small"),
        (["--cell", "cold=nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_sentence(files, capsys, words, sentence):
    """Exit status 2, what is wrong and what to do."""
    assert cli.main(["matrix", "train.jsonl", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error
    assert len(error.splitlines()) == 1

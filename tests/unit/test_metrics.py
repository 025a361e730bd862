"""Metrics of traces whose every number can be counted by hand."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from tracekit import Mark, Metrics, Op, Trace, Trailer
from tracekit.errors import InputError, OutputExistsError
from tracekit.metrics import tables
from tracekit.metrics.sizes import SIZES_LIMIT
from tracekit.metrics.stream import Stream
from tracekit.testing import MS, trace_of, training_trace
from tracekit.trace import Header


def of(*ops, **rest):
    """Metrics of these ops."""
    return Metrics.of(Trace.of(ops, **rest))


def read(uri="/a", offset=0, length=10, submit=0, **rest):
    """A read."""
    return Op(uri, offset, length, submit, **rest)


# -- nothing is not zero ----------------------------------------------------------------------------------------------


def test_an_empty_trace_knows_nothing():
    """A trace of no ops has counts of zero, everything else null, and says so."""
    metrics = of()
    data = metrics.to_json()

    assert (data["ops"], data["data_ops"], data["bytes"], data["files"]) == (0, 0, 0, 0)
    for key in ("duration_ns", "throughput_mb_s", "data_ops_per_s", "max_qd", "peak_inflight"):
        assert data[key] is None, key
    assert data["latency_us_hist"]["count"] == 0
    assert metrics.order.sequential_in_uri is None
    assert metrics.steps.count is None
    assert metrics.warnings == [
        "the trace has no reads and no writes: sizes, latency, queue depth and order are not known"
    ]


def test_a_seed_trace_says_what_it_cannot_say():
    """Bare ops have sizes and order, but neither latency, queue depth, streams nor steps; each is a warning."""
    metrics = Metrics.of(trace_of([(0, 10, 0), (10, 10, 5)]))

    assert metrics.max_qd is None
    assert metrics.peak_inflight is None
    assert metrics.queue_depth.mean is None
    assert metrics.service.p50_us is None
    assert metrics.backend_counters.short_reads is None
    assert metrics.shares.streams is None
    assert metrics.steps.stall_share is None
    assert metrics.order.sequential_in_uri == 1.0
    assert [warning.split(":")[0] for warning in metrics.warnings] == [
        "no op has t_complete",
        "no op has ret",
        "no op has pid or tid",
        "the trace has no step marks",
    ]


def test_a_trace_of_one_instant_has_no_rate():
    """Nothing is divided by a duration of zero."""
    metrics = of(read(t_complete=0, ret=10))

    assert metrics.duration_ns == 0
    assert metrics.throughput_mb_s is None
    assert metrics.data_ops_per_s is None
    assert metrics.max_qd == 1


# -- counting ---------------------------------------------------------------------------------------------------------


def test_bytes_are_those_moved():
    """`ret` counts; without it `len` does, unless the op failed."""
    metrics = of(
        read(length=10, ret=4),
        read(length=100),
        read(length=1000, err="EIO"),
        Op("/b", 0, 7, 3, op="write", ret=7),
        Op("/b", 0, 0, 3, op="open", ret=999),
    )

    assert metrics.bytes == 4 + 100 + 7
    assert metrics.backend_counters.bytes_read == 104
    assert metrics.backend_counters.bytes_written == 7
    assert metrics.backend_counters.bytes_requested == 1117
    assert metrics.kinds["open"].bytes is None
    assert metrics.kinds["write"].bytes == 7


def test_counters_count_by_kind_and_error():
    """Every kind of op, every error name, short reads and reads at the end of a file are counted."""
    kinds = ["open", "close", "close", "stat", "list", "mmap", "fsync", "delete"]
    counters = of(
        *(Op("/a", 0, 5 if kind == "mmap" else 0, 0, op=kind) for kind in kinds),
        read(ret=9),
        read(ret=0),
        read(length=0, ret=0),
        read(err="EIO"),
        read(err="404", ret=0),
        Op("/a", 0, 0, 0, op="stat", err="ENOENT"),
        read(attempts=3),
    ).backend_counters

    assert counters.requests == {
        "close": 2, "delete": 1, "fsync": 1, "list": 1, "mmap": 1, "open": 1, "read": 6, "stat": 2,
    }  # fmt: skip
    assert (counters.opens, counters.closes, counters.stats, counters.lists, counters.mmaps) == (1, 2, 2, 1, 1)
    assert (counters.mmap_bytes, counters.fsyncs, counters.deletes, counters.attempts) == (5, 1, 1, 3)
    assert counters.errors == {"404": 1, "EIO": 1, "ENOENT": 1}
    assert (counters.short_reads, counters.eof_reads) == (1, 1)


def test_requests_that_were_made_again_are_counted_at_either_level():
    """Of logical ones all but the first, of wire ones each that is no first; answers count where nothing was waited for before."""
    logical = of(
        read(level="logical", attempts=1, t_first_byte=2000, t_complete=3000),
        read(level="logical", attempts=3, t_first_byte=900_000, t_complete=990_000),
        read(level="logical", attempts=2, err="503"),
    ).backend_counters
    assert (logical.attempts, logical.retries, logical.throttled) == (6, 3, 1)
    assert (logical.first_byte.count, logical.first_byte.max_us) == (1, 2.0)
    wire = of(
        read(level="wire", attempts=1, err="429"),
        read(level="wire", attempts=2, err="503"),
        read(level="wire", attempts=3, t_first_byte=5000, t_complete=6000),
    ).backend_counters
    assert (wire.retries, wire.throttled, wire.first_byte.count, wire.first_byte.max_us) == (2, 2, 1, 5.0)
    files = of(read()).backend_counters
    assert (files.retries, files.throttled, files.first_byte.count, files.first_byte.p50_us) == (None, 0, 0, None)


def test_object_requests_are_counted_once():
    """Wire requests beside logical ones are counted apart; a trace of wire requests only is counted whole."""
    logical = read(length=100, t_complete=50, level="logical", attempts=2)
    wire = [read(length=100, t_complete=20, level="wire"), read(length=100, submit=30, t_complete=50, level="wire")]
    both, only = of(logical, *wire), of(*wire)

    assert (both.ops, both.bytes, both.max_qd, both.backend_counters.wire_requests) == (1, 100, 1, 2)
    assert (only.ops, only.bytes, only.backend_counters.wire_requests) == (2, 200, 0)


def test_clients_of_both_levels_in_one_recording_all_count():
    """A recording has each request at one level: those of another client are no doubles of it, in whole traces and in pieces."""
    ops = [read(length=100, t_complete=50, level="logical"), read(length=70, t_complete=20, level="wire")]
    mixed = Trace.of(ops, header=Header(producer={"tool": "tracekit", "verb": "record"}))
    assert (Metrics.of(mixed).ops, Metrics.of(mixed).bytes) == (2, 170)
    stream = Stream()
    stream.update(mixed)
    assert stream.result().bytes == 170


def test_sizes_are_exact_up_to_a_limit():
    """The table has every size; above its limit only the histogram remains."""
    assert of(read(length=5), read(length=5), read(length=2**40)).sizes == {5: 2, 2**40: 1}
    count = SIZES_LIMIT + 1
    columns = {"uri": ["/a"] * count, "offset": [0] * count, "len": list(range(count)), "t_submit": [0] * count}
    metrics = Metrics.of(Trace.from_values(columns))
    assert metrics.sizes is None
    assert metrics.req_bytes_hist.count == count


# -- times ------------------------------------------------------------------------------------------------------------


def test_times_are_told_apart():
    """Service time is complete - submit, response time complete - due, lateness submit - due (0 when early)."""
    metrics = of(
        read(submit=2_000, t_complete=5_000, t_due=1_000),
        read(submit=10_000, t_complete=20_000, t_due=12_000),
        read(submit=30_000, t_complete=31_000, err="EIO", t_due=30_000),
    )

    assert (metrics.service.count, metrics.service.mean_us, metrics.service.max_us) == (2, 6.5, 10.0)
    assert (metrics.response.count, metrics.response.mean_us) == (2, 6.0)
    assert (metrics.lateness.count, metrics.lateness.mean_us) == (3, pytest.approx(1 / 3))
    assert metrics.latency_us_hist.to_json(1000)["max"] == 10.0


def test_an_op_that_never_ended_is_left_out_and_said():
    """Ops without completion and ops that complete before they begin are counted, not averaged."""
    metrics = of(read(t_complete=5), read(submit=10), read(submit=10, t_complete=8))

    assert metrics.service.count == 1
    assert metrics.queue_depth.unfinished == 1
    assert metrics.completeness.negative_service == 1
    assert metrics.max_qd == 1
    assert any("1 data op has no t_complete" in warning for warning in metrics.warnings)
    assert any("completes before it begins" in warning for warning in metrics.warnings)


def test_only_data_ops_are_in_flight():
    """An open that spans two reads is no queue depth."""
    metrics = of(
        Op("/a", 0, 0, 0, op="open", t_complete=100), read(submit=1, t_complete=50), read(submit=2, t_complete=60)
    )

    assert metrics.max_qd == 2
    assert metrics.peak_inflight == 20
    assert metrics.kinds["open"].service.max_us == 0.1


def test_arrivals_tell_a_clock_from_a_burst():
    """One op per 10 ms has dispersion 0, all ops in every second window dispersion mean; Poisson is about 1."""
    clock = Metrics.of(trace_of([(0, 1, i * 10 * MS) for i in range(100)])).arrivals
    burst = Metrics.of(trace_of([(0, 1, i // 10 * 20 * MS + i % 10) for i in range(1000)])).arrivals
    times = np.cumsum(np.random.default_rng(3).exponential(MS, 50_000)).astype(int)
    poisson = Metrics.of(trace_of([(0, 1, int(time)) for time in times])).arrivals

    assert clock.per_10ms_dispersion == 0
    assert (burst.per_10ms_mean, burst.per_10ms_dispersion) == pytest.approx((5, 5), rel=0.02)
    assert burst.per_10ms_lag1 == pytest.approx(-1, abs=0.02)
    assert poisson.per_10ms_dispersion == pytest.approx(1, abs=0.1)
    assert poisson.per_10ms_lag1 == pytest.approx(0, abs=0.1)


def test_lag1_is_the_textbook_autocorrelation():
    """The sparse formula equals the dense one over all windows, empty ones included."""
    chance = np.random.default_rng(5)
    times = np.sort(chance.integers(0, 500 * MS, 60))
    counts = np.bincount((times - times[0]) // (10 * MS))
    centred = counts - counts.mean()
    arrivals = Metrics.of(trace_of([(0, 1, int(time)) for time in times])).arrivals

    assert arrivals.per_10ms_lag1 == pytest.approx((centred[1:] * centred[:-1]).sum() / (centred**2).sum())
    assert arrivals.per_10ms_dispersion == pytest.approx(counts.var() / counts.mean())


def test_a_pause_of_a_century_costs_no_memory():
    """Windows are counted, not allocated."""
    arrivals = Metrics.of(trace_of([(0, 1, 0), (0, 1, 3 * 10**18)])).arrivals

    assert arrivals.per_10ms_mean == pytest.approx(2 / 3e11, rel=1e-6)


# -- order ------------------------------------------------------------------------------------------------------------


def test_sequential_within_file_and_stream():
    """Two streams reading one file alternately are sequential in the file and not within each."""
    ops = [read(offset=10 * i, submit=i, ret=10, pid=1, tid=i % 2) for i in range(10)]
    order = of(*ops).order

    assert order.sequential_in_uri == 1.0
    assert order.sequential_in_stream == 0.0
    assert order.run_ops_hist.quantile(0.5) == 10
    assert of(*ops[::2]).order.sequential_in_stream == 0.0
    assert (
        of(*(read(offset=10 * i, submit=i, ret=10, pid=1, tid=1) for i in range(10))).order.sequential_in_stream == 1.0
    )


def test_reads_that_return_nothing_break_no_run():
    """The empty read at the end of a file counts for nothing in the order of reads."""
    ops = [read(offset=0, ret=10, submit=0), read(offset=10, ret=0, submit=1), read("/b", 0, 10, 2, ret=10)]

    assert of(*ops).order.run_ops_hist.count == 2
    assert of(*ops).order.sequential_in_uri is None


def test_gaps_and_runs_are_measured():
    """A jump of 90 bytes forward and one of 110 back are two seeks and end runs of 1, 1 and 2 reads."""
    offsets = [0, 100, 0, 10]
    order = of(*(read(offset=offset, submit=i, ret=10) for i, offset in enumerate(offsets))).order

    assert [order.seek_in_uri_hist.quantile(q) for q in (1 / 3, 2 / 3, 1)] == [0, 90, 110]
    assert order.sequential_in_uri == pytest.approx(1 / 3)
    assert (order.run_ops_hist.count, order.run_ops_hist.maximum) == (3, 2)
    assert order.reaccess_share == pytest.approx(1 / 4)


def test_seeks_of_a_stream_are_within_its_file():
    """Two streams share a file: by file the reads interleave, by stream they jump by 10; a change of file is no distance."""
    ops = [read(offset=10 * i, submit=i, ret=10, pid=1, tid=i % 2) for i in range(6)]
    order = of(*ops, read("/b", 500, submit=9, ret=10, pid=1, tid=0)).order

    assert order.seek_in_uri_hist.maximum == 0
    assert (order.seek_in_stream_hist.count, order.seek_in_stream_hist.minimum, order.seek_in_stream_hist.maximum) == (
        4,
        10,
        10,
    )


def test_unknown_offsets_have_no_order():
    """Reads whose offset is null are left out of order and locality."""
    order = of(read(offset=None, submit=0), read(offset=None, submit=1)).order

    assert order.sequential_in_uri is None
    assert order.reaccess_share is None


def test_files_in_order_of_names_and_shuffled():
    """Reading files by name gives 0, a shuffle about 1; numbers in names compare as numbers."""
    names = [f"/data/img_{i}.jpg" for i in range(500)]
    shuffled = list(np.random.default_rng(1).permutation(names))
    ordered = of(*(read(name, submit=i) for i, name in enumerate(names))).order
    random = of(*(read(str(name), submit=i) for i, name in enumerate(shuffled))).order

    assert ordered.first_touch_randomness == 0
    assert random.first_touch_randomness == pytest.approx(1, abs=0.15)
    assert of(*(read(name, submit=i) for i, name in enumerate(names[:2]))).order.first_touch_randomness is None


def test_files_written_in_order_are_read_shuffled():
    """A job that first makes its files one after another and then reads them shuffled has the order of its reads."""
    names = [f"/data/img_{i}.jpg" for i in range(500)]
    made = [read(name, submit=i, op="write") for i, name in enumerate(names)]
    shuffled = np.random.default_rng(1).permutation(names)
    back = [read(str(name), submit=1000 + i) for i, name in enumerate(shuffled)]

    assert of(*made, *back).order.first_touch_randomness == pytest.approx(1, abs=0.15)
    assert of(*made).order.first_touch_randomness == 0


@pytest.mark.parametrize("key", [str, lambda name: int(name[2:])])
def test_names_sorted_plainly_or_by_number_are_in_order(key):
    """Whichever way a program sorts its files, reading them in that order is reading them by name: 0."""
    names = sorted((f"/f{i}" for i in range(1, 41)), key=key)

    assert of(*(read(name, submit=i) for i, name in enumerate(names))).order.first_touch_randomness == 0


def test_hot_files_take_their_share():
    """The busiest 1 % of 200 files are two."""
    names = [f"/{i}" for i in range(200)] + ["/0"] * 100 + ["/1"] * 100

    assert of(*(read(name, submit=i) for i, name in enumerate(names))).order.top1_file_share == pytest.approx(202 / 400)


# -- steps ------------------------------------------------------------------------------------------------------------


def test_a_training_job_is_counted_by_step():
    """24 steps of 4 samples: 12 reads, 400,000 bytes, 4 samples each; two streams; the files are read to their end."""
    metrics = Metrics.of(training_trace(wait_ns=2 * MS))
    steps = metrics.steps

    assert (steps.count, steps.excluded, steps.judged, steps.attribution) == (24, 1, 23, "step")
    for histogram, value in (
        (steps.ops_per_step_hist, 12),
        (steps.bytes_per_step_hist, 400_000),
        (steps.samples_per_step_hist, 4),
    ):
        assert (histogram.count, histogram.minimum, histogram.maximum) == (24, value, value)
    assert steps.stall_share == pytest.approx(2 / 7)
    assert (steps.starved_steps, steps.starved_share) == (23, 1.0)
    assert (metrics.samples.count, metrics.samples.bytes_per_sample_hist.mean) == (48, 100_000)
    assert metrics.samples.ops_per_sample_hist.count == 96
    assert (metrics.shares.streams, metrics.shares.workers, metrics.shares.worker_balance) == (2, 2, 1.0)
    assert metrics.warnings == []


@pytest.mark.parametrize(
    ("wait", "compute", "starved"),
    [(MS, 5 * MS, 0), (MS + 1, 5 * MS, 23), (2 * MS, 40 * MS, 0), (2 * MS + 1, 40 * MS, 23), (0, 5 * MS, 0)],
)
def test_a_step_is_starved_beyond_1_ms_and_5_percent(wait, compute, starved):
    """Starved means wait > max(1 ms, 5 % of compute), and exactly that."""
    assert Metrics.of(training_trace(wait_ns=wait, compute_ns=compute)).steps.starved_steps == starved


def test_the_seed_rule_is_reported_and_is_not_starvation():
    """A loader that keeps the queue full passes min QD > 0 although every step waits; one far ahead fails it."""
    marks = [
        mark
        for i in range(4)
        for mark in (Mark("step", i * 100, i * 100 + 100, i), Mark("compute", i * 100 + 60, i * 100 + 100, i))
    ]
    slow = of(read(submit=0, t_complete=400), marks=marks).steps
    ahead = of(read(submit=0, t_complete=50), marks=marks).steps

    assert (slow.busy_compute_share, slow.stall_share) == (1.0, 0.6)
    assert (ahead.busy_compute_share, ahead.stall_share) == (0.0, 0.6)
    assert [row.min_qd for row in slow.table] == [1, 1, 1, 1]


def test_hungry_idle_is_waiting_with_nothing_in_flight():
    """Of steps that wait 60 of 100 ns, the first left out: nothing, 100 or all 180 ns, by what was in flight."""
    marks = [
        mark
        for i in range(4)
        for mark in (Mark("step", i * 100, i * 100 + 100, i), Mark("compute", i * 100 + 60, i * 100 + 100, i))
    ]
    behind = of(read(submit=0, t_complete=400), marks=marks).steps
    late = of(read(submit=0, t_complete=50), read(submit=140, t_complete=280), marks=marks).steps
    never = of(read(submit=500, t_complete=600), marks=marks).steps

    assert behind.hungry_idle_share == 0
    assert late.hungry_idle_share == pytest.approx((40 + 0 + 60) / 300)
    assert never.hungry_idle_share == pytest.approx(180 / 300)
    assert of(read(submit=0), marks=marks).steps.hungry_idle_share is None


def test_the_first_step_of_each_process_is_warm_up():
    """A slow first step of each training process does not count as waiting."""
    marks = []
    for pid in (1, 2):
        marks += [Mark("step", 0, 100 * MS, 0, pid=pid), Mark("compute", 99 * MS, 100 * MS, 0, pid=pid)]
        marks += [Mark("step", 100 * MS, 110 * MS, 1, pid=pid), Mark("compute", 100 * MS, 110 * MS, 1, pid=pid)]
    steps = of(read(), marks=marks).steps

    assert (steps.count, steps.excluded, steps.judged, steps.stall_share) == (4, 2, 2, 0.0)


def test_steps_of_each_epoch_are_their_own():
    """Step numbers that start again with every epoch are told apart by the epoch."""
    ops = [read(submit=e * 10 + s, epoch=e, step=s, ret=5) for e in range(2) for s in range(3)]
    steps = of(*ops).steps

    assert (steps.count, steps.ops_per_step_hist.maximum) == (6, 1)
    assert [(row.epoch, row.step, row.bytes) for row in steps.table] == [(e, s, 5) for e in range(2) for s in range(3)]


def test_ops_without_numbers_go_by_time_and_it_is_said():
    """Without step numbers on ops, each op belongs to the step during which it was issued."""
    marks = [Mark("step", 0, 10, 0), Mark("step", 10, 20, 1)]
    metrics = of(*(read(submit=time) for time in (0, 9, 10, 19, 20, 99)), marks=marks)

    assert metrics.steps.attribution == "time"
    assert [row.ops for row in metrics.steps.table] == [2, 2]
    assert any("they are assigned to the step during which they were issued" in warning for warning in metrics.warnings)


def test_steps_that_nobody_read_for_are_zero():
    """With numbered ops, a step without any has 0 ops, which is known and not null."""
    marks = [Mark("step", 0, 10, 0), Mark("step", 10, 20, 1)]
    rows = of(read(step=0, ret=3), marks=marks).steps.table

    assert [(row.ops, row.bytes) for row in rows] == [(1, 3), (0, 0)]


def test_marks_without_compute_judge_nothing():
    """Steps alone say how many there are, not whether they waited."""
    metrics = of(read(), marks=[Mark("step", 0, 10, 0), Mark("step", 10, 20, 1)])

    assert (metrics.steps.count, metrics.steps.judged, metrics.steps.stall_share) == (2, 0, None)
    assert "no step after the first has a compute mark: waiting and starvation are not known" in metrics.warnings


# -- parts and losses -------------------------------------------------------------------------------------------------


def test_ranks_and_workers_are_compared():
    """A rank that reads three times as much shows in the balance: 1.5 times the mean."""
    shares = of(read(rank=0, length=30, worker=0), read(rank=1, length=10, worker=0)).shares

    assert {name: (part.ops, part.bytes) for name, part in shares.by_rank.items()} == {"0": (1, 30), "1": (1, 10)}
    assert shares.rank_balance == 1.5
    assert shares.worker_balance == 1.0


def test_streams_of_two_hosts_are_not_one():
    """The same pid on two ranks is two streams in two processes."""
    shares = of(*(read(rank=rank, pid=7, tid=7) for rank in (0, 1))).shares

    assert (shares.streams, shares.processes) == (2, 2)


def test_losses_are_said():
    """Lost ops and lines that are missing against the trailer are warnings; coverage and run come through."""
    trailer = Trailer(ops=5, lost=2, coverage={"bytes_ignored": 7}, run={"verdict": "VALID"})
    metrics = of(read(), trailer=trailer)

    assert metrics.completeness.coverage == {"bytes_ignored": 7}
    assert metrics.completeness.run == {"verdict": "VALID"}
    assert any("lost 2 ops" in warning for warning in metrics.warnings)
    assert any("the trailer counts 5 ops, the trace has 1" in warning for warning in metrics.warnings)


def test_warnings_of_reading_come_through():
    """What was wrong with the file is said with the numbers."""
    assert of(read(), warnings=["1 bad line was left out"]).warnings[0] == "1 bad line was left out"


# -- storing ----------------------------------------------------------------------------------------------------------


def test_csv_files_hold_the_same_numbers(tmp_path):
    """scalars.csv, the histograms, steps and timeline say what the JSON says."""
    metrics = Metrics.of(training_trace(wait_ns=MS))
    names = metrics.to_csv(tmp_path / "new")
    data = metrics.to_json()
    with open(tmp_path / "new" / "scalars.csv", newline="") as file:
        scalars = {row["metric"]: row for row in csv.DictReader(file)}
    with open(tmp_path / "new" / "hist_latency_us.csv", newline="") as file:
        latency = list(csv.DictReader(file))
    with open(tmp_path / "new" / "steps.csv", newline="") as file:
        steps = list(csv.DictReader(file))

    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)
    assert float(scalars["throughput_mb_s"]["value"]) == data["throughput_mb_s"]
    assert scalars["service.p99_us"]["unit"] == "us"
    assert scalars["backend_counters.requests.read"]["value"] == "288"
    assert scalars["shares.by_worker.1.bytes"]["value"] == "4800000"
    assert scalars["shares.rank_balance"]["value"] == ""
    assert latency == [{"low_us": "199.68", "high_us": "200.703", "count": "288"}]
    assert [row["wait_us"] for row in steps] == ["1000.0"] * 24
    assert steps[1]["starved"] == "false"


def test_csv_replaces_only_with_force(tmp_path):
    """An existing file stops the writing before anything is changed."""
    metrics = Metrics.of(training_trace())
    (tmp_path / "steps.csv").write_text("mine")
    with pytest.raises(OutputExistsError):
        metrics.to_csv(tmp_path, force=False)

    assert [path.name for path in tmp_path.iterdir()] == ["steps.csv"]
    metrics.to_csv(tmp_path)
    assert (tmp_path / "steps.csv").read_text() != "mine"


def test_csv_leaves_nothing_when_it_fails(tmp_path, monkeypatch):
    """A disk that fills while writing leaves the old files and no temporary ones."""
    metrics = Metrics.of(training_trace())
    monkeypatch.setattr(tables, "texts", lambda _: {"scalars.csv": "x", "steps.csv": "\udcff"})
    (tmp_path / "scalars.csv").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        metrics.to_csv(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["scalars.csv"]
    assert (tmp_path / "scalars.csv").read_text() == "old"


def test_csv_into_a_file_is_refused(tmp_path):
    """A directory that is a file is one sentence."""
    (tmp_path / "f").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Metrics.of(training_trace()).to_csv(tmp_path / "f")


def test_json_limits_the_table_and_csv_does_not():
    """A JSON snapshot lists the first 4096 steps; steps.csv lists all."""
    marks = [Mark("step", i, i + 1, i) for i in range(5000)]
    metrics = of(read(), marks=marks)

    assert len(metrics.to_json()["steps"]["table"]) == 4096
    assert tables.texts(metrics)["steps.csv"].count("\n") == 5001


def test_the_snapshot_is_deterministic():
    """The same trace gives the same bytes of JSON."""
    first, second = (json.dumps(Metrics.of(training_trace(seed=4)).to_json()) for _ in range(2))

    assert first == second


_FULL = """
import errno
import resource

import numpy as np
from tracekit import Op, Trace
from tracekit.formats.ordered import fold
from tracekit.metrics import Stream
from tracekit.metrics.groups import Groups

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

def grouped():
    found = Groups(1, most=100)
    for number in range(50):
        found.add([np.arange(100 * number, 100 * number + 100)], [np.ones(100, np.int64)])
    list(found.rows())

def ordered():
    fold(lambda _ops: iter([Trace.of([Op("/a", 0, 1, 9 - number) for number in range(2000)])]), Stream, again=False)

for way in (grouped, ordered):
    try:
        way()
    except OSError as error:
        print(way.__name__, error.errno == errno.EFBIG)
"""


def test_a_disk_that_is_full_is_said_once():
    """What is kept in temporary files fails with the system's error, and nothing is printed when they are thrown away."""
    done = subprocess.run([sys.executable, "-c", _FULL], capture_output=True, text=True, timeout=120, check=False)

    assert (done.stdout, done.stderr) == ("grouped True\nordered True\n", "")

"""Pictures of a trace, with matplotlib: what was asked for, how long it took, how much at once, where, by whom."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracekit.analysis.duty import duty_cycle
from tracekit.analysis.reuse import reuse
from tracekit.errors import CannotRunError, UnknownNameError, UsageError
from tracekit.metrics.view import View
from tracekit.output import replacing
from tracekit.trace import NULL, Trace
from tracekit.units import format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Blue, orange and green that colour-blind readers tell apart (Okabe and Ito).
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#E69F00", "#009E73", "#999999"
_SUFFIXES = (".png", ".svg", ".pdf")
# More points than this in one picture are thinned, evenly, and the picture says so.
_MOST_POINTS = 200_000
# Up to so many reads are dots one can see; more of them show by their number.
_FEW = 3000
_MOST_LANES = 32
# About as many as a picture is wide.
_DOTS = 700


def plot(
    trace: Trace, path: str | os.PathLike[str], *, kinds: Sequence[str] = (), title: str = "", force: bool = True
) -> None:
    """Draw a trace.

    Args:
        trace: The trace.
        path: The picture; its suffix says png, svg or pdf.
        kinds: Names in `KINDS`; all of them unless said.
        title: What stands above.
        force: Whether an existing file may be replaced.

    Raises:
        UsageError: If the suffix is none of these, or a kind does not exist.
        OutputExistsError: If the file exists and `force` is false.
        CannotRunError: If matplotlib is missing.
    """
    suffix = os.path.splitext(os.fspath(path))[1]
    if suffix not in _SUFFIXES:
        raise UsageError(f"{os.fspath(path)!r} does not end in {', '.join(_SUFFIXES)}", "name the picture so")
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownNameError("picture", kind, KINDS)
    figure_type = _figure_type()
    chosen = list(kinds or KINDS)
    columns = 1 if len(chosen) == 1 else 2
    rows = -(-len(chosen) // columns)
    figure = figure_type(figsize=(7.2 * columns, 3.6 * rows), layout="constrained", dpi=110)
    view = View.of(trace)
    for number, kind in enumerate(chosen, 1):
        axes = figure.add_subplot(rows, columns, number)
        axes.spines[["top", "right"]].set_visible(False)
        KINDS[kind](axes, view)
    if title:
        figure.suptitle(title)
    with replacing(path, force=force) as file:
        figure.savefig(file, format=suffix[1:], metadata={"Date": None} if suffix == ".svg" else None)


def _figure_type() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise CannotRunError(
            "drawing needs matplotlib", "pip install 'tracekit-io[plots]', or pip install matplotlib"
        ) from None
    return Figure


def _nothing(axes: Axes, why: str) -> None:
    """An empty picture that says why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", color=_GREY, transform=axes.transAxes)


def _thinned(count: int) -> tuple[Any, str]:
    step = -(-count // _MOST_POINTS)
    return slice(None, None, step), f" (1 of {step} ops)" if step > 1 else ""


def _sizes(axes: Axes, view: View) -> None:
    axes.set_title("Request sizes")
    drawn = False
    for name, chosen, colour in (("read", view.reads, _BLUE), ("write", ~view.reads, _ORANGE)):
        sizes = np.sort(view.sizes[chosen])
        sizes = sizes[sizes > 0]
        if len(sizes):
            values, last = np.unique(sizes, return_index=True)
            share = np.append(last[1:], len(sizes)) / len(sizes)
            axes.step(
                np.append(values, values[-1]),
                np.insert(share, 0, 0),
                where="post",
                color=colour,
                label=f"{name}, {len(sizes):,} ops",
            )
            drawn = True
    if not drawn:
        _nothing(axes, "no reads or writes")
        return
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: format_bytes(int(value)) if value >= 1 else "")
    axes.set(xlabel="bytes asked for", ylabel="share of ops at most so large", ylim=(0, 1.02))
    axes.legend(frameon=False)


def _latency(axes: Axes, view: View) -> None:
    axes.set_title("Service time")
    service = np.sort((view.complete - view.submit)[view.timed]) / 1000
    if not len(service):
        _nothing(axes, "the trace does not say when ops completed")
        return
    # The upper tail on its own scale: each step to the right is a tenfold rarer op.
    rank = (np.arange(len(service)) + 1) / len(service)
    part, note = _thinned(len(service))
    axes.plot(1 / np.maximum(1 - rank[part], 0.5 / len(service)), service[part], color=_BLUE)
    ticks = [one for one in (2, 10, 100, 1_000, 10_000, 100_000) if one <= 2 * len(service)]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ticks, [f"p{100 - 100 / one:.4g}" for one in ticks])
    axes.minorticks_off()
    axes.set(xlabel="percentile" + note, ylabel="service time, µs")


def _heat(axes: Axes, view: View) -> None:
    axes.set_title("Service time over time")
    known = view.timed
    if not known.any():
        _nothing(axes, "the trace does not say when ops completed")
        return
    seconds = (view.submit[known] - view.submit[known][0]) / 1e9
    micros = np.maximum((view.complete - view.submit)[known] / 1000, 0.1)
    top = max(float(micros.max()), 1.0)
    bins = [np.linspace(0, max(float(seconds[-1]), 1e-9), 121), np.geomspace(float(micros.min()) / 2, top * 2, 61)]
    counts, _, _ = np.histogram2d(seconds, micros, bins)
    mesh = axes.pcolormesh(*bins, np.where(counts.T > 0, counts.T, np.nan), norm="log", cmap="viridis", rasterized=True)
    bar = axes.get_figure().colorbar(mesh, ax=axes, label="ops")  # type: ignore[union-attr]
    # Between powers of ten marks are named only where there are none of those.
    few = counts.max() < 10
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    bar.ax.yaxis.set_minor_formatter(lambda value, _: f"{value:,.0f}" if few else "")
    axes.set_yscale("log")
    axes.set(xlabel="s", ylabel="service time, µs")


def _depth(axes: Axes, view: View) -> None:
    axes.set_title("In flight")
    known = view.timed
    if not known.any():
        _nothing(axes, "the trace does not say when ops completed")
        return
    start, end, size = view.submit[known], view.complete[known], view.sizes[known]
    times = np.concatenate([start, end])
    order = np.argsort(times, kind="stable")
    depth = np.cumsum(np.concatenate([np.ones(len(start)), -np.ones(len(end))])[order])
    flight = np.cumsum(np.concatenate([size, -size])[order])
    seconds = (times[order] - start[0]) / 1e9
    edges = np.linspace(0, max(float(seconds[-1]), 1e-9), 401)
    window = np.minimum(np.searchsorted(edges, seconds, side="right") - 1, 399)
    for axis, values, colour, label, width in (
        (axes, depth, _BLUE, "ops", 1.6), (axes.twinx(), flight / 2**20, _ORANGE, "MiB", 0.8),
    ):  # fmt: skip
        highest = np.zeros(400)
        np.maximum.at(highest, window, values)
        axis.step(edges[:-1], highest, where="post", color=colour, linewidth=width)
        axis.set_ylabel(f"highest {label} in flight", color=colour)
        axis.set_ylim(bottom=0)
    axes.set_xlabel("s")


def _duty(axes: Axes, view: View) -> None:
    axes.set_title("Share of time with I/O in flight")
    seconds, shares = duty_cycle(view.trace, 200)
    if not seconds:
        _nothing(axes, "the trace does not say when ops completed")
        return
    axes.fill_between(seconds, shares, step="post", color=_GREEN, alpha=0.7, linewidth=0)
    axes.set(xlabel="s", ylabel="share", ylim=(0, 1.02))


def _access(axes: Axes, view: View) -> None:
    axes.set_title("What was read when")
    chosen = view.reads & (view.col("offset") != NULL)
    if not chosen.any():
        _nothing(axes, "no reads with offsets")
        return
    uri, offset, size = view.col("uri")[chosen], view.col("offset")[chosen], view.moved[chosen]
    codes, places = np.unique(uri, return_inverse=True)
    reach = np.ones(len(codes), np.int64)
    np.maximum.at(reach, places, offset + size)
    # Files one above the other in order of their names, each as tall as what was read of it.
    by_name = np.argsort([view.trace.uris[code] for code in codes], kind="stable")
    base = np.zeros(len(codes), np.int64)
    base[by_name[1:]] = np.cumsum(reach[by_name])[:-1]
    seconds = (view.submit[chosen] - view.submit[0]) / 1e9
    part, note = _thinned(len(seconds))
    axes.plot(
        seconds[part], (base[places] + offset)[part] / 2**20, "," if len(seconds) > _FEW else "o", markersize=2.5,
        markeredgewidth=0, color=_BLUE, alpha=0.6, rasterized=True,
    )  # fmt: skip
    axes.set(xlabel="s" + note, ylabel=f"MiB, {len(codes):,} files in order of names", ylim=(0, None))


def _lanes(axes: Axes, view: View) -> None:
    axes.set_title("Who was reading and writing")
    streams = view.streams
    known = view.timed
    if streams is None or not known.any():
        _nothing(axes, "the trace does not say which thread issued an op, or when it completed")
        return
    worker = view.col("worker")
    busiest = np.argsort(-np.bincount(streams[known]), kind="stable")[:_MOST_LANES]
    # From top to bottom in order of their first op.
    busiest = busiest[np.argsort([int(np.argmax(known & (streams == code))) for code in busiest], kind="stable")]
    start = view.submit[0]
    # An op that is shorter than a dot of the picture is a dot wide.
    shortest = max(float((view.complete[known].max() - start) / 1e9) / _DOTS, 1e-6)
    labels = []
    for lane, code in enumerate(busiest.tolist()):
        mine = np.flatnonzero(known & (streams == code))
        part, _ = _thinned(len(mine))
        mine = mine[part]
        begin, took = (view.submit[mine] - start) / 1e9, (view.complete - view.submit)[mine] / 1e9
        axes.broken_barh(
            list(zip(begin, np.maximum(took, shortest), strict=True)),
            (lane - 0.4, 0.8),
            color=_BLUE,
            linewidth=0,
            rasterized=True,
        )
        who = int(worker[mine[0]])
        labels.append(f"worker {who}" if who != NULL else f"tid {int(view.col('tid')[mine[0]])}")
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set(xlabel="s", ylim=(len(labels) - 0.5, -0.5))


def _cache(axes: Axes, view: View) -> None:
    axes.set_title("What a page cache would serve")
    found = reuse(view.trace, most=1 << 18)
    sizes, shares = found.curve()
    if not sizes:
        _nothing(axes, "no reads with offsets")
        return
    axes.step([0, *sizes], [0, *shares], where="post", color=_BLUE)
    axes.set_xscale("symlog", base=2, linthresh=found.block_bytes)
    powers = range(found.block_bytes.bit_length() - 1, max(sizes).bit_length() + 1)
    axes.set_xticks([0, *(1 << power for power in powers[:: -(-len(powers) // 7)])])
    axes.xaxis.set_major_formatter(lambda value, _: format_bytes(int(value)) if value >= 1 else "0")
    axes.tick_params(axis="x", labelrotation=30)
    note = "" if found.rate >= 1 else f", {found.rate:.2g} of the blocks looked at"
    axes.set(
        xlabel="least-recently-used cache, empty at the start" + note, ylabel="share of reads served", ylim=(0, 1.02)
    )


KINDS: dict[str, Callable[[Any, View], None]] = {
    "sizes": _sizes, "latency": _latency, "heat": _heat, "depth": _depth, "duty": _duty, "access": _access, "lanes": _lanes,
    "cache": _cache,
}  # fmt: skip

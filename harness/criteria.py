"""The criteria: one table per mode, everything about each of them in one place.

Three classes. *intent* is what was asked of the storage; it does not depend on the machine and is decided from one run.
*overlap* is whether the consumer was kept fed. *environment* is how the machine answered; it is judged over several runs on
the same class of host, and shown otherwise. docs/explanation/verdicts.md says where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.criterion import ENVIRONMENT, ENVIRONMENT_RUNS, INTENT, OVERLAP, PAIRED, REPEAT, Criterion, format_band
from tracekit.errors import UnknownNameError


def _table(*criteria: Criterion) -> Mapping[str, Criterion]:
    return {criterion.id: criterion for criterion in criteria}


# ---- repeat: the same job again, against a golden ------------------------------------------------------------------

_SIZES = (
    Criterion(
        "size.match", INTENT, "request sizes match within 10 %",
        "1 − the largest share of requests that can be paired one to one with requests of the reference whose size differs "
        "by at most 10 % of the larger",
        "distance", 0.02, "share",
        high="request sizes differ: {measured} of the requests have no counterpart within ±10 %",
        why="It is the literal reading of 'the size histogram agrees within 10 %': blind to one byte more, open-eyed to a "
        "change of the mix. Between true repeats it is below 0.003.",
    ),
    Criterion(
        "size.ks", INTENT, "request size distribution (KS distance)",
        "Kolmogorov-Smirnov distance of the request sizes, after every size may move by 1 % of itself",
        "distance", 0.05, "share",
        high="the distribution of request sizes differs: at some size {measured} of the requests lie on the other side",
        why="The plain distance is too strict (131072 against 131073 bytes gives 1), so 1 % is forgiven. Plain distance and p-value are "
        "diagnostics, never used: with a million requests p rejects a shift of 0.1 %, with few distinct sizes hardly anything.",
    ),
)  # fmt: skip

REPEAT_CRITERIA = _table(
    *_SIZES,
    Criterion(
        "size.mean", INTENT, "mean request size", "mean of the requested sizes, measured / reference", "ratio", 0.20, "bytes",
        high="requests are larger: {measured} on average, {reference} has been asked for",
        low="requests are smaller: {measured} on average, {reference} has been asked for",
        why="±20 % is the published band; size.match and size.ks see smaller changes.",
    ),
    Criterion(
        "size.median", INTENT, "median request size", "median of the requested sizes, measured / reference", "ratio", 0.20, "bytes",
        high="the median request is larger: {measured} against {reference}",
        low="the median request is smaller: {measured} against {reference}",
        why="±20 % is the published band. Where the sizes leave a gap at the middle (two sizes, half and half) the median jumps "
        "between them by chance; it is then shown and does not gate.",
        assumption="the 45th and the 55th percentile of the golden lie within 20 % of its median",
    ),
    Criterion(
        "ops.mix", INTENT, "mix of operations", "share of ops that would have to be of another kind to get the reference's mix",
        "distance", 0.02, "share",
        high="the mix of operations differs: {measured} of the ops are of another kind",
        why="Between true repeats the mix is the same to the op. Other recording engines see other kinds of metadata ops: then "
        "only reads and writes are compared.",
    ),
    Criterion(
        "ops.errors", INTENT, "reads and writes that fail", "failed reads and writes / all of them, measured − reference",
        "difference", 0.001, "share",
        high="{measured} of the reads and writes fail, {reference} in the golden",
        why="A job that gets by on failing requests is another job. Other kinds of ops are left out: programs look for files that need "
        "not be there.",
        direction="upper",
    ),
    Criterion(
        "step.bytes", INTENT, "bytes per step", "bytes moved by the ops of a training step, mean over steps, measured / reference",
        "ratio", 0.10, "bytes",
        high="a step reads more: {measured}, the golden {reference}",
        low="a step reads less: {measured}, the golden {reference}",
        why="±10 % is the published band; true repeats differ by 0.1 to 0.5 %.",
    ),
    Criterion(
        "step.ops", INTENT, "ops per step", "reads and writes of a training step, mean over steps, measured / reference",
        "ratio", 0.10, "ops",
        high="a step issues more ops: {measured}, the golden {reference}",
        low="a step issues fewer ops: {measured}, the golden {reference}",
        why="As step.bytes.",
    ),
    Criterion(
        "sample.bytes", INTENT, "bytes per sample", "bytes moved for a sample and epoch, mean over samples, measured / reference",
        "ratio", 0.10, "bytes",
        high="a sample costs more bytes: {measured}, the golden {reference}",
        low="a sample costs fewer bytes: {measured}, the golden {reference}",
        why="As step.bytes; it does not change with the batch size and so tells another batch from other data.",
    ),
    Criterion(
        "sample.ops", INTENT, "ops per sample", "reads and writes for a sample and epoch, mean over samples, measured / reference",
        "ratio", 0.10, "ops",
        high="a sample takes more ops: {measured}, the golden {reference}",
        low="a sample takes fewer ops: {measured}, the golden {reference}",
        why="As sample.bytes: requests merged or split show here.",
    ),
    Criterion(
        "files.distinct", INTENT, "distinct files", "distinct uris read or written, measured / reference", "ratio", 0.02, "files",
        high="more files are touched: {measured}, the golden {reference}",
        low="fewer files are touched: {measured}, the golden {reference}",
        why="The same job touches the same files; 2 % allows for a file of statistics or a lock.",
    ),
    Criterion(
        "order.sequential", INTENT, "sequential within a file",
        "share of reads that start where the previous read of the same file ended, measured − reference", "difference", 0.02, "share",
        high="files are read more in order: {measured} of the reads continue where the last one of the file ended, "
        "the golden has {reference}",
        low="ops inside files are reordered or start over: {measured} of the reads continue where the last one of the file ended, "
        "the golden has {reference}",
        why="The statistic that tells a shuffled replay with the identical size histogram. Between true repeats it does not move.",
    ),
    Criterion(
        "order.sequential-stream", INTENT, "sequential within a stream",
        "share of reads that continue, in the same file, where the stream's previous read ended, measured − reference",
        "difference", 0.02, "share",
        high="streams read more in order: {measured} of the reads continue the stream's last one, the golden has {reference}",
        low="streams jump more: {measured} of the reads continue the stream's last one, the golden has {reference}",
        why="As order.sequential, by who asks instead of by file.",
    ),
    Criterion(
        "order.first-touch", INTENT, "order in which files are first touched",
        "0 when files are first read in the order of their names, about 1 in random order, measured − reference",
        "difference", 0.30, "",
        high="files are first touched in a more random order: {measured}, the golden {reference} (0 is the order of names, 1 random)",
        low="files are first touched in the order of their names: {measured}, the golden {reference} (0 is the order of names, 1 random)",
        why="Nearly the only thing that tells a shuffled epoch from an unshuffled one. By chance it varies by about 0.7 / √files.",
        minimum=100,
    ),
    Criterion(
        "order.reaccess", INTENT, "reads of places read before",
        "share of reads of a (uri, offset) that had been read before, measured − reference", "difference", 0.02, "share",
        high="more is read again: {measured} of the reads, the golden {reference}",
        low="less is read again: {measured} of the reads, the golden {reference}",
        why="Other numbers of epochs, hot files and caches in the program show here.",
    ),
    Criterion(
        "streams.workers", INTENT, "loader workers", "distinct loader workers that issue ops, measured − reference",
        "difference", 0.5, "",
        high="more loader workers: {measured}, the golden {reference}",
        low="fewer loader workers: {measured}, the golden {reference}",
        why="A count: it is the same or it is not.",
    ),
    Criterion(
        "streams.peak", INTENT, "streams at a time",
        "largest number of streams (threads) between their first and last op at one time, measured − reference",
        "difference", 0.5, "",
        high="more streams at a time: {measured}, the golden {reference}",
        low="fewer streams at a time: {measured}, the golden {reference}",
        why="A count. Streams at a time, not streams in all: a loader starts new workers in every epoch.",
    ),
    Criterion(
        "depth.ceiling", INTENT, "queue-depth ceiling",
        "share of ops submitted at or above the highest queue depth that the reference reaches, measured / what is to be expected "
        "by chance when the run's own streams are moved against each other by the time of a few ops",
        "value", 0.2, "",
        high="",
        low="ops keep out of each other's way: queue depth {reference} is reached by {measured} of them, {effect} times what chance "
        "would bring",
        why="Ops overlap by chance, and less so where the storage answers faster; but streams behind a cap never reach the depth above "
        "it. A fifth of chance is far from both. Where fewer than 40 ops are to be expected there, it is not judged.",
        assumption="streams know nothing of each other within the time of a few ops",
    ),
    Criterion(
        "stall.share", OVERLAP, "time the consumer waits for data",
        "wait for data / (wait + compute), first step left out, measured − reference", "difference", 0.05, "share",
        high="the consumer waits for data {measured} of the time, the golden {reference}",
        why="What an accelerator loses. Gates where the golden declares itself compute-bound.",
        gate="compute-bound", direction="upper",
    ),
    Criterion(
        "stall.starved", OVERLAP, "steps that wait for data",
        "share of steps that wait longer than max(1 ms, 5 % of their compute), measured − reference", "difference", 0.05, "share",
        high="{measured} of the steps wait for data, {reference} in the golden",
        why="As stall.share, in steps.",
        gate="compute-bound", direction="upper",
    ),
    Criterion(
        "depth.fed", OVERLAP, "queue never empty during compute (published rule)",
        "share of steps with queue depth > 0 all through their compute; at least 95 % by the published rule", "value", 0.95, "share",
        high="", low="the queue runs empty during compute: only {measured} of the steps keep an op in flight all the time",
        why="The rule passes loaders whose accelerator idles (they are always behind) and fails those that are far ahead (an empty "
        "queue behind a full buffer). It gates only where the golden declares itself I/O-bound.",
        gate="io-bound",
    ),
    Criterion(
        "latency.p50", ENVIRONMENT, "service time, median", "median of t_complete − t_submit of reads and writes, measured / reference",
        "ratio", 0.25, "ns", high="ops take longer: {measured} in the median, {reference} in the golden",
        low="ops are faster: {measured} in the median, {reference} in the golden",
        why="±25 %; true repeats on a shared host differ by 8 to 17 % (one standard deviation).", gate="same-host",
    ),
    Criterion(
        "latency.p99", ENVIRONMENT, "service time, p99", "99th percentile of t_complete − t_submit, measured / reference",
        "ratio", 0.25, "ns", high="the tail is longer: p99 is {measured}, {reference} in the golden",
        low="the tail is shorter: p99 is {measured}, {reference} in the golden",
        why="±25 % is the published band. True repeats on a shared host differ by 26 to 66 % (one standard deviation): mostly this "
        "cannot be decided, and then says so.", gate="same-host", minimum=368,
    ),
    Criterion(
        "throughput", ENVIRONMENT, "throughput", "bytes moved / (last completion − first submission), measured / reference",
        "ratio", 0.15, "B/s", high="more bytes per second: {measured}, the golden {reference}",
        low="fewer bytes per second: {measured}, the golden {reference}", why="±15 % is the published band.", gate="same-host",
    ),
    Criterion(
        "arrival.dispersion", ENVIRONMENT, "burstiness of arrivals",
        "variance / mean of the ops submitted per 10 ms, measured / reference", "ratio", 0.25, "",
        high="arrivals are burstier: {measured}, the golden {reference}",
        low="arrivals are smoother: {measured}, the golden {reference}",
        why="1 is a Poisson process, 0 a clock. It moves with the speed of the machine as well as with the loader.", gate="same-host",
    ),
    Criterion(
        "depth.mean", ENVIRONMENT, "mean queue depth", "mean over time of the ops in flight, measured / reference",
        "ratio", 0.25, "", high="more ops in flight: {measured}, the golden {reference}",
        low="fewer ops in flight: {measured}, the golden {reference}",
        why="Between true repeats it varies by 31 to 41 %: shown, never a gate.", gate="never",
    ),
)  # fmt: skip

# ---- paired: a replay against its own recording, op by op ----------------------------------------------------------

PAIRED_CRITERIA = _table(
    Criterion(
        "ops.missing", INTENT, "recorded ops that were not issued", "recorded ops without a counterpart / recorded ops",
        "distance", 0.001, "share",
        high="{measured} of the recorded ops have no counterpart (op, uri, offset, len)",
        why="A replay issues what was recorded: 1 in 1000 is more than any faithful replay misses.", minimum=1,
    ),
    Criterion(
        "ops.extra", INTENT, "ops that were not recorded", "ops without a counterpart in the recording / recorded ops",
        "distance", 0.001, "share",
        high="ops were issued that nobody recorded: {measured} of the recorded number", why="As ops.missing.", minimum=1,
    ),
    Criterion(
        "ops.errors", INTENT, "ops that fail", "pairs that fail in the replay and did not in the recording / pairs",
        "distance", 0.001, "share",
        high="{measured} of the ops fail in the replay and did not in the recording", why="As ops.missing.", minimum=1,
    ),
    *_SIZES,
    Criterion(
        "size.mean", INTENT, "mean request size", "mean of the requested sizes, measured / reference", "ratio", 0.10, "bytes",
        high="requests are larger: {measured} on average, {reference} recorded",
        low="requests are smaller: {measured} on average, {reference} recorded", why="±10 % is what a replay promises.",
    ),
    Criterion(
        "step.bytes", INTENT, "bytes per step", "bytes moved by the ops of a training step, mean over steps, measured / reference",
        "ratio", 0.10, "bytes", high="a step moves more: {measured}, {reference} recorded",
        low="a step moves less: {measured}, {reference} recorded", why="±10 % is what a replay promises.",
    ),
    Criterion(
        "order.stream", INTENT, "order within streams",
        "pairs of ops of one stream in the wrong order / all such pairs (Kendall); 0.5 is random", "distance", 0.01, "share",
        high="ops are reordered inside streams: {measured} of their pairs are in the wrong order (0.5 is random)",
        why="A stream waits for its own ops, so a faithful replay inverts none; 2 in 10,000 were measured on a busy host.",
    ),
    Criterion(
        "order.file", INTENT, "order within files",
        "pairs of ops of one file in the wrong order / all such pairs (Kendall); 0.5 is random", "distance", 0.01, "share",
        high="ops are reordered inside files: {measured} of their pairs are in the wrong order (0.5 is random)",
        why="As order.stream; independent of how streams are named.",
    ),
    Criterion(
        "order.sequential", INTENT, "sequential within a file",
        "share of reads that start where the previous read of the same file ended, measured − reference", "difference", 0.02, "share",
        high="files are read more in order: {measured} of the reads continue where the last one of the file ended, "
        "the recording has {reference}",
        low="ops are reordered inside files: {measured} of the reads continue where the last one of the file ended, "
        "the recording has {reference}",
        why="The statistic that tells a shuffled replay with the identical size histogram.",
    ),
    Criterion(
        "streams.count", INTENT, "streams", "distinct streams (threads) that issue ops, measured − reference", "difference", 0.5, "",
        high="more streams: {measured}, {reference} recorded", low="fewer streams: {measured}, {reference} recorded",
        why="A count: it is the same or it is not.",
    ),
    Criterion(
        "streams.moved", INTENT, "ops in their own stream",
        "pairs not issued by the stream that issues most of their recorded stream's ops / pairs", "distance", 0.01, "share",
        high="{measured} of the ops were issued by another stream than their neighbours", why="Names of streams may change, who issues "
        "what with whom may not.",
    ),
    Criterion(
        "depth.cap", INTENT, "no cap below the recorded concurrency",
        "ops (or bytes) in flight that the replay allowed itself / the largest number recorded", "value", 1.0, "",
        high="", low="the replay capped its concurrency: {measured} in flight allowed, {reference} recorded",
        why="Evidence from the replay's own header: below the recorded peak the cap cannot have been harmless.", minimum=1,
    ),
    REPEAT_CRITERIA["depth.ceiling"],
    Criterion(
        "time.shift-p50", INTENT, "submission times, median shift",
        "median of |Δt_submit| over the pairs, each since the trace's first pair, beyond 20 ms, / recorded duration",
        "distance", 0.01, "ns",
        high="the cadence is off: half of the ops are more than {measured} away from their time",
        why="A faithful replay on a host whose cores are all taken is off by up to 12 ms in the median and 60 ms in p99; twice the speed "
        "by a quarter of the duration.",
        assumption="open loop: a replay that keeps think times may drift and is judged by its duration",
    ),
    Criterion(
        "time.shift-p99", INTENT, "submission times, p99 of the shift",
        "99th percentile of |Δt_submit| over the pairs, beyond 100 ms, / recorded duration", "distance", 0.05, "ns",
        high="some ops come at the wrong time: 1 % of them more than {measured} away",
        why="As time.shift-p50; 100 ms because a hypervisor takes a core away for that long.",
        assumption="open loop",
    ),
    Criterion(
        "time.duration", INTENT, "duration", "(last − first submission), measured / reference", "ratio", 0.10, "ns",
        high="it takes longer: {effect} of the recorded duration ({measured} against {reference})",
        low="it runs faster: {effect} of the recorded duration ({measured} against {reference})",
        why="±10 %, as for throughput. On a busy host either end may be 25 ms late; a recording too short to tell is INCONCLUSIVE.",
        assumption="either end is off by at most 25 ms for reasons of the host",
    ),
    Criterion(
        "arrival.rate", INTENT, "arrivals per window",
        "share of ops that fall into another window of max(100 ms, duration / 50) than recorded", "distance", 0.15, "share",
        high="the cadence is off: {measured} of the ops arrive in another window of time",
        why="Sees a cadence that is bunched or shifted within the same duration. On a host whose cores are all taken, a faithful replay "
        "had up to 0.06.", minimum=100,
    ),
    Criterion(
        "throughput", INTENT, "throughput", "bytes moved / duration, measured / reference", "ratio", 0.10, "B/s",
        high="more bytes per second: {measured}, {reference} recorded", low="fewer bytes per second: {measured}, {reference} recorded",
        why="±10 % is what a replay promises.", assumption="either end is off by at most 25 ms for reasons of the host",
    ),
    Criterion(
        "arrival.dispersion", INTENT, "bursts of arrivals",
        "variance / mean of the ops submitted per 10 ms, mean over five grids of windows, measured / reference", "ratio", 0.5, "",
        high="", low="bursts are smoothed away: the variance of arrivals per 10 ms is {measured} times their mean, {reference} recorded",
        why="A loader reads in bursts; evenly spaced ops with the same rate are another load. On a host whose cores are all taken, a "
        "faithful replay had 0.9 to 1.6 of the recorded value. More bursts are no fault here: arrival.rate sees late ops.",
        direction="lower", minimum=100,
    ),
    Criterion(
        "latency.p50", ENVIRONMENT, "service time, median", "median of t_complete − t_submit, measured / reference", "ratio", 0.25, "ns",
        high="ops take longer: {measured} in the median, {reference} recorded",
        low="ops are faster: {measured} in the median, {reference} recorded",
        why="What the target does, not what the replay asked of it; one run decides nothing.", gate="never",
    ),
    Criterion(
        "latency.p99", ENVIRONMENT, "service time, p99", "99th percentile of t_complete − t_submit, measured / reference",
        "ratio", 0.25, "ns", high="the tail is longer: p99 is {measured}, {reference} recorded",
        low="the tail is shorter: p99 is {measured}, {reference} recorded", why="As latency.p50.", gate="never", minimum=368,
    ),
)  # fmt: skip

CRITERIA: Mapping[str, Mapping[str, Criterion]] = {PAIRED: PAIRED_CRITERIA, REPEAT: REPEAT_CRITERIA}


_ASSUMED = {
    PAIRED: "nothing: what was done is counted, not estimated",
    REPEAT: "runs are independent of each other",
}


def explain(name: str) -> str:
    """What a criterion asks, how it is decided, and why: plain text for all modes that have it.

    Raises:
        UnknownNameError: If there is no such criterion; the nearest is proposed.
    """
    known = {criterion for table in CRITERIA.values() for criterion in table}
    if name not in known:
        raise UnknownNameError("criterion", name, known)
    return "\n\n".join(_explanation(mode, table[name]) for mode, table in CRITERIA.items() if name in table)


def _explanation(mode: str, criterion: Criterion) -> str:
    gate = {
        "always": "always",
        "same-host": f"with at least {ENVIRONMENT_RUNS} runs on a host of the golden's class, where its profile says host: dedicated",
        "compute-bound": "where the golden's profile says regime: compute_bound",
        "io-bound": "where the golden's profile says regime: io_bound",
        "never": "never; it is shown only",
    }[criterion.gate]
    lines = [
        f"{criterion.id} ({mode} mode, {criterion.klass}): {criterion.title}",
        f"  statistic   {criterion.statistic}",
        f"  accepted    {format_band(criterion)}",
        f"  gates       {gate}",
        f"  needs       {criterion.minimum} {'op' if criterion.minimum == 1 else 'ops'}",
        f"  assumes     {criterion.assumption or _ASSUMED[mode]}",
        f"  why         {criterion.why}",
    ]
    return "\n".join(lines)

"""The criteria of paired mode: a replay against its own recording, op by op."""

from __future__ import annotations

from harness.criteria.repeated import REPEAT_CRITERIA, SIZES
from harness.criterion import ENVIRONMENT, INTENT, Criterion, table

PAIRED_CRITERIA = table(
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
    *SIZES,
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
        "pairs of ops of one stream in the wrong order / all such pairs (Kendall); 50 % is random", "distance", 0.01, "share",
        high="ops are reordered inside streams: {measured} of their pairs are in the wrong order (50 % is random)",
        why="A stream waits for its own ops, so a faithful replay inverts none; 2 in 10,000 were measured on a busy host.",
    ),
    Criterion(
        "order.file", INTENT, "order within files",
        "pairs of ops of one file in the wrong order / all such pairs (Kendall); 50 % is random", "distance", 0.01, "share",
        high="ops are reordered inside files: {measured} of their pairs are in the wrong order (50 % is random)",
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

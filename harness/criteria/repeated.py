"""The criteria of repeat mode: the same job again, against a golden."""

from __future__ import annotations

from harness.criterion import ENVIRONMENT, INTENT, OVERLAP, Criterion, table

SIZES = (
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
    Criterion(
        "size.log-shift", INTENT, "how far request sizes move", "mean over all quantiles of |ln(size measured / size of the reference)|",
        "distance", 0.02, "share",
        high="request sizes are {measured} off on average",
        why="Sees what the other two cannot: every request a little larger (size.match forgives 10 %), or a few of them very much so "
        "(the KS distance counts how many, not how far). Sizes of 0 count as 1.",
    ),
)  # fmt: skip

REPEAT_CRITERIA = table(
    *SIZES,
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
        "data_ops", INTENT, "reads and writes in all", "reads and writes of the whole run, measured / reference", "ratio", 0.05, "ops",
        high="the job issues more reads and writes: {measured}, the golden {reference}",
        low="the job issues fewer reads and writes: {measured}, the golden {reference}",
        why="The same job issues the same number: over twelve repeats each of five loaders it did not move. Where ops carry no step and no "
        "sample (readers in C++) nothing else sees that some are missing.",
    ),
    Criterion(
        "bytes", INTENT, "bytes in all", "bytes moved by the whole run, measured / reference", "ratio", 0.05, "bytes",
        high="the job moves more bytes: {measured}, the golden {reference}",
        low="the job moves fewer bytes: {measured}, the golden {reference}",
        why="As data_ops.",
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
        "sample.bytes-ks", INTENT, "bytes per sample, distribution",
        "Kolmogorov-Smirnov distance of the bytes moved for a sample and epoch, beyond the distance of the golden's own runs",
        "distance", 0.02, "share",
        high="samples cost other amounts of bytes: at some amount {measured} of them lie on the other side",
        why="A few samples that are cut short or read twice leave the mean where it is. Between true repeats it is 0 to 0.003.",
    ),
    Criterion(
        "sample.ops-ks", INTENT, "ops per sample, distribution",
        "Kolmogorov-Smirnov distance of the ops for a sample and epoch, beyond the distance of the golden's own runs",
        "distance", 0.02, "share",
        high="samples take other numbers of ops: at some number {measured} of them lie on the other side",
        why="As sample.bytes-ks: ops dropped, doubled, merged or split.",
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
        "order.top-files", INTENT, "ops on the busiest files",
        "share of reads and writes that go to the busiest 1 % of the files, measured / reference", "ratio", 0.10, "share",
        high="some files are hot: the busiest 1 % of them get {measured} of the ops, {reference} in the golden",
        low="the busiest 1 % of the files get fewer ops: {measured}, {reference} in the golden",
        why="Hot files leave sizes and order within files alone. Between true repeats it does not move.",
    ),
    Criterion(
        "order.seek", INTENT, "seek distances within a file",
        "Kolmogorov-Smirnov distance of |start − end of the previous read of the same file| (16 buckets an octave), beyond the distance "
        "of the golden's own runs", "distance", 0.02, "share",
        high="reads jump differently inside files: at some distance {measured} of the jumps lie on the other side",
        why="The strongest single statistic against reordered, random and merged reads; it does not depend on who reads.",
    ),
    Criterion(
        "order.seek-stream", INTENT, "seek distances within a stream",
        "as order.seek, from the end of the stream's previous read where that was of the same file", "distance", 0.05, "share",
        high="streams jump differently inside files: at some distance {measured} of the jumps lie on the other side",
        why="As order.seek, by who asks. The band is wider, because workers share files differently in every run.",
    ),
    Criterion(
        "order.run", INTENT, "length of sequential runs",
        "Kolmogorov-Smirnov distance of the number of reads that continue each other in a file, beyond the distance of the golden's own "
        "runs", "distance", 0.02, "share",
        high="files are read in runs of another length: at some length {measured} of the runs lie on the other side",
        why="Merged and split reads, and files read in parts.",
    ),
    Criterion(
        "order.jump", INTENT, "jumps between files, in order of first touch",
        "Kolmogorov-Smirnov distance of the jumps in the order of names between files first touched one after the other, beyond the "
        "distance of the golden's own runs", "distance", 0.10, "share",
        high="files are first touched in another order: at some length {measured} of the jumps lie on the other side",
        why="Tells a shuffle within a window or within shards from one over the whole data set, which the mean jump does not. By chance "
        "it varies by about 0.3 / √files (one standard deviation); shuffles within windows and shards lie at 0.2 to 0.8. From 200 "
        "files on.",
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
        "stall.hungry", OVERLAP, "time the consumer waits and nothing is in flight",
        "time in which a batch is waited for and no read or write is in flight / time of the steps, first step left out, "
        "measured − reference",
        "difference", 0.05, "share",
        high="{measured} of the time the consumer waits while nobody fetches anything, {reference} in the golden",
        why="What the published queue-depth rule is after: storage idle although somebody waits for it. Between true repeats on a host "
        "with idle cores it is below 0.01.",
        gate="compute-bound", direction="upper",
    ),
    Criterion(
        "depth.max", OVERLAP, "largest queue depth", "largest number of reads and writes in flight, measured − reference", "difference",
        0.5, "",
        high="more ops in flight: up to {measured}, {reference} in the golden",
        low="fewer ops in flight: at most {measured}, {reference} in the golden",
        why="A loader bound by storage always has as many ops in flight as it has readers: over 120 repeats of four loaders it did not "
        "move. From a warm cache ops of two streams meet by luck only, so depth.ceiling decides elsewhere.",
        gate="io-bound",
    ),
    Criterion(
        "depth.bytes", OVERLAP, "largest amount in flight", "largest number of bytes asked for by ops in flight, measured / reference",
        "ratio", 0.20, "bytes",
        high="more bytes in flight: up to {measured}, {reference} in the golden",
        low="fewer bytes in flight: at most {measured}, {reference} in the golden",
        why="As depth.max, in bytes.", gate="io-bound",
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
        "latency.p95", ENVIRONMENT, "service time, p95", "95th percentile of t_complete − t_submit, measured / reference",
        "ratio", 0.25, "ns", high="the tail is longer: p95 is {measured}, {reference} in the golden",
        low="the tail is shorter: p95 is {measured}, {reference} in the golden",
        why="Where p99 cannot be decided p95 often can: large reads on a shared host differ by 10 % in p95 and by 59 % in p99.",
        gate="same-host", minimum=100,
    ),
    Criterion(
        "latency.p99", ENVIRONMENT, "service time, p99", "99th percentile of t_complete − t_submit, measured / reference",
        "ratio", 0.25, "ns", high="the tail is longer: p99 is {measured}, {reference} in the golden",
        low="the tail is shorter: p99 is {measured}, {reference} in the golden",
        why="±25 % is the published band. True repeats on a shared host differ by 26 to 66 % (one standard deviation): mostly this "
        "cannot be decided, and then says so.", gate="same-host", minimum=368,
    ),
    Criterion(
        "latency.p99.9", ENVIRONMENT, "service time, p99.9", "99.9th percentile of t_complete − t_submit, measured / reference",
        "ratio", 0.25, "ns", high="the far tail is longer: p99.9 is {measured}, {reference} in the golden",
        low="the far tail is shorter: p99.9 is {measured}, {reference} in the golden",
        why="As latency.p99. A 95 % interval of it exists from 3,688 independent ops on; of 31 edits of a trace it caught none that "
        "other criteria did not.", gate="same-host", minimum=3688,
    ),
    Criterion(
        "latency.size", ENVIRONMENT, "larger requests take longer", "correlation of log size and log service time, measured − reference",
        "difference", 0.10, "", high="service times follow sizes more closely: {measured}, the golden {reference}",
        low="service times follow sizes less: {measured}, the golden {reference}",
        why="Ops that a cache answers, and service times dealt anew, break what ties the two. Where all sizes are equal it is not defined.",
        gate="same-host", minimum=100,
    ),
    Criterion(
        "latency.lag1", ENVIRONMENT, "slow ops come together",
        "autocorrelation of log service times of ops submitted one after the other, measured − reference",
        "difference", 0.10, "", high="slow ops come more in bursts: {measured}, the golden {reference}",
        low="slow ops come less in bursts: {measured}, the golden {reference}",
        why="The same service times in another order leave every percentile alone.", gate="same-host", minimum=100,
    ),
    Criterion(
        "file.span", ENVIRONMENT, "time from a file's first read to its last",
        "median over files and epochs of (last completion − first submission of a read), measured / reference",
        "ratio", 0.25, "ns", high="files are read over a longer time: {measured} in the median, {reference} in the golden",
        low="files are read in less time: {measured} in the median, {reference} in the golden",
        why="Reads of a file that are spread out or bunched, whatever each of them takes.", gate="same-host",
    ),
    Criterion(
        "throughput", ENVIRONMENT, "throughput", "bytes moved / (last completion − first submission), measured / reference",
        "ratio", 0.15, "B/s", high="more bytes per second: {measured}, the golden {reference}",
        low="fewer bytes per second: {measured}, the golden {reference}", why="±15 % is the published band.", gate="same-host",
    ),
    Criterion(
        "latency.shift", ENVIRONMENT, "service times, whole distribution",
        "mean over all quantiles of |ln(service time measured / reference)|, beyond that of the golden's own runs", "distance", 0.25, "share",
        high="service times are {measured} off on average", why="The whole distribution where percentiles are single points.",
        gate="same-host", minimum=100,
    ),
    Criterion(
        "ops.rate", ENVIRONMENT, "requests per second", "reads and writes / (last completion − first submission), measured / reference",
        "ratio", 0.15, "", high="more requests per second: {measured}, the golden {reference}",
        low="fewer requests per second: {measured}, the golden {reference}", why="As throughput.", gate="same-host",
    ),
    Criterion(
        "arrival.gap", ENVIRONMENT, "gaps between requests, whole distribution",
        "mean over all quantiles of |ln(gap measured / reference)|, beyond that of the golden's own runs", "distance", 0.25, "share",
        high="gaps between requests are {measured} off on average",
        why="The statistic that catches evenly spaced, Poisson and shuffled cadences; it moves with the machine as well.",
        gate="same-host", minimum=100,
    ),
    Criterion(
        "arrival.lag1", ENVIRONMENT, "bursts that last",
        "autocorrelation of the requests in neighbouring windows of 10 ms, measured − reference", "difference", 0.25, "",
        high="bursts last longer: {measured}, the golden {reference}", low="bursts are shorter: {measured}, the golden {reference}",
        why="Tells bursts that were dealt anew from those recorded, where the dispersion is the same.", gate="same-host",
    ),
    Criterion(
        "arrival.dispersion", ENVIRONMENT, "burstiness of arrivals",
        "variance / mean of the ops submitted per 10 ms, measured / reference", "ratio", 0.25, "",
        high="arrivals are burstier: {measured}, the golden {reference}",
        low="arrivals are smoother: {measured}, the golden {reference}",
        why="1 is a Poisson process, 0 a clock. It moves with the speed of the machine as well as with the loader.", gate="same-host",
    ),
    Criterion(
        "arrival.count", ENVIRONMENT, "requests per 10 ms, whole distribution",
        "Kolmogorov-Smirnov distance of the ops submitted per 10 ms, beyond that of the golden's own runs", "distance", 0.10, "share",
        high="requests come in other numbers: at some number {measured} of the windows lie on the other side",
        why="Where dispersion and lag are two numbers: a load at half speed, with pauses, or dealt out evenly. From 100 windows on: below, chance alone moves it by half its band.",
        gate="same-host",
    ),
    Criterion(
        "arrival.bytes", ENVIRONMENT, "bytes per 100 ms, whole distribution",
        "Kolmogorov-Smirnov distance of the bytes moved per 100 ms, beyond that of the golden's own runs", "distance", 0.10, "share",
        high="bytes come in other amounts: at some amount {measured} of the windows lie on the other side",
        why="As arrival.count, by what is moved. From 100 windows on: below, chance alone moves it by half its band.", gate="same-host",
    ),
    Criterion(
        "depth.mean", ENVIRONMENT, "mean queue depth", "mean over time of the ops in flight, measured / reference",
        "ratio", 0.25, "", high="more ops in flight: {measured}, the golden {reference}",
        low="fewer ops in flight: {measured}, the golden {reference}",
        why="Between true repeats it varies by 31 to 41 %: shown, never a gate.", gate="never",
    ),
    Criterion(
        "depth.ks", ENVIRONMENT, "time at each queue depth",
        "Kolmogorov-Smirnov distance of the time spent at each queue depth, beyond that of the golden's own runs", "distance", 0.10, "share",
        high="queue depths differ: above some depth {measured} of the time lies on the other side", why="As depth.mean.", gate="never",
    ),
)  # fmt: skip

"""What can be wrong, by the name that messages, reports and JSON outputs carry: the cause, and the way out.

Written by hand. tests/gold/test_reference.py holds it against the code: no name there without an entry, no entry without a name.
"""

from __future__ import annotations

# Slugs of errors, in brackets at the end of the sentence.
ERRORS: dict[str, tuple[str, str]] = {
    "error": ("Something that has no name of its own; no command ends with it.", "Report it with the command that did."),
    "usage": (
        "An option or argument that cannot be honoured: a value of the wrong kind, two that exclude each other, one too many.",
        "The sentence names the argument; `--help` of the verb shows what it takes.",
    ),
    "unknown-name": (
        "A golden, criterion, preset, profile, format, column, mode or key that does not exist.",
        "Take the name that is proposed, or one of those listed.",
    ),
    "output-exists": (
        "An output that exists and would be overwritten.",
        "`--force` replaces it; or name another with `-o`.",
    ),
    "bad-input": (
        "A file that is missing, cannot be read, or is not what it should be.",
        "The sentence says where, often with the line, and what would do instead.",
    ),
    "trace-format": (
        "A line of a trace that breaks the format: cut in the middle, no JSON, a key of the wrong type, a time that runs backwards.",
        "`--skip-bad` leaves such lines out and counts them; [the trace format](../trace.md) says what one is.",
    ),
    "unknown-scheme": (
        "A URI whose scheme no storage owns.",
        "Use a path, `file://`, `direct://`, `s3://` or `az://`; for data elsewhere, `--remap FROM=TO`.",
    ),
    "cannot-run": (
        "What is asked for is right and cannot be had here: a permission, a package, a server or a program is missing.",
        "The sentence says which; `tracekit doctor URI` looks at the place.",
    ),
    "recorder": (
        "The recorder itself failed, not the program it ran; exit status 125.",
        "The sentence says at what; `--engine python` does without the native hooks.",
    ),
    "preflight": (
        "Several things keep a trace from being replayed; each was said on a line of its own before this one.",
        "Mend each; nothing has been read or written.",
    ),
    "data-missing": (
        "Files that the trace reads do not exist here.",
        "`--remap FROM=TO` says where the data is; `--prepare random` makes stand-ins of the recorded sizes.",
    ),
    "data-forbidden": (
        "Files that the trace reads may not be read by this user; exit status 4.",
        "Change their permissions, or remap to a copy.",
    ),
    "data-unopenable": (
        "Files that the trace reads cannot be opened, for the reason in parentheses.",
        "Mend what is named, or remap.",
    ),
    "data-short": (
        "Files are shorter than what the trace reads of them: reads would return less than recorded.",
        "Restore the data, or remap to an empty directory and `--prepare random`.",
    ),
    "data-sparse": (
        "Files have holes, which cost no device access to read; the replay would be too fast.",
        "Write real data, as `--prepare random` does, or start warm (`--cache-start warm`).",
    ),
    "not-a-directory": ("The trace lists a directory, and a file is in its place.", "Remap to a directory."),
    "not-a-file": (
        "The trace reads a file, and a directory or device is in its place.",
        "Remap, or leave it out: `--select 'uri!=…'`.",
    ),
    "output-is-input": (
        "The trace to be written would take the place of a file that the trace reads.",
        "Name another file with `-o`.",
    ),
    "direct-refused": (
        "Files whose file system refuses O_DIRECT, in a replay that reads past the page cache.",
        "`--direct-fallback` reads them through the page cache and counts them; or `--cache default`.",
    ),
    "direct-in-memory": (
        "Files in a file system in memory, where O_DIRECT reaches no device.",
        "Remap to real storage, or say with `--direct-fallback` that memory is meant.",
    ),
    "direct-misaligned": (
        "Ops at places or of lengths that O_DIRECT does not take.",
        "`--direct-align round` reads the aligned range around each.",
    ),
    "too-many-streams": (
        "The trace has more streams than the threads engine runs.",
        "Replay a part: `--select pid=…` or `--select t=0s..10s`; the native engine takes more.",
    ),
    "too-many-files": (
        "The replay needs more open files than the limit allows.",
        "`ulimit -n`, or fewer streams with `--select`.",
    ),
    "schedule-too-long": (
        "The times of the trace, at the speed and for the repetitions asked for, are further apart than a clock can count (146 years).",
        "Say the unit of the times (`--time-unit`), mend the trace, or replay a part: `--select t=0s..10s`.",
    ),
    "too-little-memory": (
        "The buffers of the trace's reads would take more than half of this machine's memory.",
        "Bound them with `--max-inflight-bytes`.",
    ),
    "no-room": ("The file system cannot hold the data that `--prepare` would make.", "Free some, or remap to a larger one."),
    "no-offsets": (
        "Reads of the trace have no offset: whoever recorded it did not know where they were.",
        "`--null-offset zero` reads from the start, `--null-offset sequential` where the stream's last read ended.",
    ),
    "no-page-cache": (
        "Something is asked of the page cache, and the trace reads objects only, which do not go through it.",
        "Leave out what the sentence names: `--cache`, `--cache-start`, `--drop-cache`.",
    ),
    "no-residency": (
        "`--cache-start recorded` for a trace that does not say what was in the page cache.",
        "Record again with `--residency first-read`, or start cold, warm or as-is.",
    ),
    "lost-rank": (
        "One of several ranks no longer answers, or its process ended; exit status 4.",
        "Look at that rank's own output; `--rank-timeout` waits longer where a host is only slow.",
    ),
    "left-alone": ("Another rank ended early; what it met is the cause.", "Look for the first error among the ranks."),
}  # fmt: skip

# Findings about a trace as a whole: in verdicts, JUnit and summary.json, before every criterion.
VALIDITY: dict[str, tuple[str, str, str]] = {
    "valid.empty": ("ERROR", "The trace holds no reads and no writes: empty is never a match.", "Look whether the recorder's filters leave everything out, and at what the trailer's `coverage` says was ignored."),
    "valid.complete": ("ERROR", "A header and no trailer, or fewer ops than the trailer counts: the trace was cut.", "Let the recording end; `tracekit record --merge PARTS` makes a trace of parts that were left."),
    "valid.lost": ("ERROR", "The recorder lost more than 1 op in 1000.", "Record on a machine with free cores, to a disk with room."),
    "valid.clock": ("ERROR or INCONCLUSIVE", "Ops complete before they begin (ERROR), or none takes any time (INCONCLUSIVE).", "Record with a clock of at least microseconds; say the unit of a foreign trace with `--time-unit`."),
    "valid.bytes": ("ERROR", "Ops that succeeded moved more bytes than they asked for.", "The importer or the recorder mistook a column: convert the trace again, with `--set columns=…`."),
    "valid.short": ("INCONCLUSIVE", "More than 1 % of the reads come back short in the middle of their file.", "Find out what interrupts reads (signals, a failing mount), or record again."),
    "valid.overlap": ("ERROR", "More than 1 % of the ops begin while their own thread is still in another.", "Thread ids or times are not true; for readers that keep several in flight, the contract says `sync_streams: false`."),
    "valid.job": ("ERROR", "Recording and replay have no file in common.", "Say with `--remap FROM=TO` where the replay's data lies, or judge the right pair."),
    "valid.warmup": ("INCONCLUSIVE", "The golden leaves a warm-up out, and the trace has none that could be told.", "Record with steps and epochs, and for longer than one of them."),
    "valid.requires": ("INCONCLUSIVE", "The trace does not tell what the golden's contract requires.", "Record with step marks, samples and threads (`tracekit.step()`)."),
    "valid.runs": ("INCONCLUSIVE", "Fewer runs than the golden's contract asks for.", "Record more and name them all."),
    "valid.evidence": ("INCONCLUSIVE", "The trace is silent about what its reference tells: steps, workers, offsets, completion times.", "Record it the way the reference was recorded."),
    "valid.time-unit": ("INCONCLUSIVE", "Bytes move 100 times as fast, or as slowly, as in the golden.", "Say the unit of the trace's times with `--time-unit`."),
    "valid.size": ("INCONCLUSIVE", "Fewer than 10 reads and writes, or than the golden asks for.", "Record for longer."),
    "valid.run": ("INCONCLUSIVE", "A replay that by its own account did not keep up, was interrupted, or did not issue every op.", "Replay on a quieter machine, or with fewer streams, and let it finish."),
    "valid.cells": ("INCONCLUSIVE", "The cells of a matrix show nothing about the page cache.", "Take replays that tell which pages were resident, and at least the cells buffered and cold."),
}  # fmt: skip

# What a replay warns of: words that stand in the sentence.
WARNINGS: dict[str, tuple[str, str]] = {
    "other sizes than recorded": ("Files are there and longer or shorter than when they were recorded; all that is read of them is there.", "Nothing, unless the size matters to the storage: `--prepare random` makes data of the recorded sizes."),
    "through the page cache": ("O_DIRECT is refused and `--direct-fallback` was given: what is measured there is the page cache.", "Replay on a file system that has O_DIRECT."),
    "where O_DIRECT reaches no device": ("The files lie in memory (tmpfs), and `--direct-fallback` says that this is meant.", "`--remap` to the storage that is to be measured."),
    "is a file system in memory": ("Data would be made in memory: no device is read.", "`--remap` to a directory on the storage that is to be measured."),
    "such ops go alone": ("One op moves more bytes than `--max-inflight-bytes` allows at a time.", "Raise the cap, if overlap with that op matters."),
    "only map and unmap": ("The recording holds maps of files without the pages that were touched.", "Record with `--mmap exact` to see the pages; they are looked at, not replayed."),
    "the trace has no completion times": ("Think time, recorded service times and queue depth are not known.", "Keep `--pace timed`; `--pace think` needs a trace that says when ops ended."),
    "left out:": ("Ops that a replay does not issue: on names and directories, on lengths of files, or left out by `--select` and `--null-offset`.", "Nothing, as long as they do not carry the load."),
    "of objects ask nothing of the server": ("Opens, closes and fsyncs have no request in an object store.", "Nothing: they are issued as nothing."),
    "each is one PUT of its size": ("Writes of objects go below `--scratch`, one object for each.", "Nothing, unless the recorded object was made in parts."),
    "a stream is replayed one op at a time": ("Ops of one thread overlap in the trace; in the replay the later one waits.", "Nothing for copies in the kernel; else the trace's thread ids are not true."),
    "workers are taken for its streams": ("The trace has no pid and tid: which ops wait for each other is a guess by loader worker.", "Record or import with threads."),
    "all ops form one stream": ("The trace does not say which thread issued an op: no two ops overlap in the replay.", "Record or import with threads, or expect a lower queue depth."),
    "none of the --remap prefixes": ("Some names begin with no FROM of `--remap` and are read where they were recorded.", "Add a `--remap` for them, or leave them out with `--select`."),
    "dropped one by one": ("`--drop-cache` is not permitted, so the trace's own files were dropped instead; directories and metadata stay cached.", "Run as root for the whole cache."),
    "an earlier replay was killed": ("Its scratch directory is still there, and no process holds it.", "`rm -r` as said; nothing in it is needed."),
    "asked to start": ("The page cache is not in the state that `--cache-start` asked for, or the system does not tell.", "More memory, nobody else on the files; `tracekit doctor DIR` says whether it can be told."),
    "is not known; that stays as it is": ("The recording does not say which pages of some files were resident.", "Record with `--residency first-read`, or name the state: `--cache-start cold`."),
    "another size than recorded: each page": ("The recorded state of the page cache was scaled to files of other sizes.", "Use files of the recorded sizes where the state must be exact."),
    "only the number of resident pages is known": ("The recording says how many pages of a file were resident, not which.", "Nothing; record again for the exact pages."),
}  # fmt: skip

# What a replay says of itself: its statement's `verdict`.
RUNS: dict[str, tuple[str, str]] = {
    "VALID": ("The load was delivered as planned, and nobody else was at work to speak of.", "Nothing to do."),
    "DEGRADED": ("Others took the machine meanwhile: the hypervisor, other processes, a CPU limit, a slow clock. The reasons say which.", "Replay when they are done or on cores of its own; `--accept-degraded` takes it as long as the load was delivered."),
    "TARGET LIMITED": ("The storage answered more slowly than recorded, ops failed, or a cap of the user's held streams up.", "A fact about the target: raise the caps, or use `--pace think` to see how the program would fare."),
    "NOT SUSTAINED": ("The replayer could not keep up, was stopped, or a rank was lost.", "Fewer streams, more `--processes`, the native engine, a quieter machine."),
}  # fmt: skip

# Kinds of failed requests for objects, in a run's statement and in warnings.
REQUESTS: dict[str, tuple[str, str]] = {
    "short body": ("A reply ended before all of its bytes had come.", "Look at proxies and at the server's log; `--retries N`."),
    "slow first byte": ("No answer within `--timeout`.", "Raise `--timeout`, or ask less at once."),
    "stalled body": ("An answer began and then stood still for `--timeout`.", "Look at the network; raise `--timeout`."),
    "unresolved name": ("The host's name is not known.", "Check the endpoint (AWS_ENDPOINT_URL, the account's name) and DNS."),
    "TLS": ("The connection could not be made secure.", "Check the certificate, or http:// against https://."),
    "clock skew": ("The server finds this machine's clock too far off.", "Set the clock (NTP)."),
    "bucket gone": ("There is no such bucket or container.", "Check its name; `tracekit doctor URI` asks."),
    "credentials": ("The key is not known, has ended, or signs wrongly.", "Look at what `tracekit doctor URI` says of settings and where they came from."),
    "range ignored": ("The server sent another range than the one asked for.", "The server or a proxy does not do ranged reads: read whole objects."),
    "forbidden": ("The key is good and may not do this (403).", "Ask for s3:GetObject, s3:ListBucket, or Storage Blob Data Reader."),
    "not found": ("There is no such object (404).", "Remap, or `--prepare random`."),
    "conflict": ("The object changed, or is locked (409, 412).", "Let nobody else write there."),
    "range": ("A range beyond the object's end (416).", "The object is shorter than recorded: restore it."),
    "throttled": ("The server asks to slow down (429, 503).", "Fewer in flight, or `--retries N`, which counts them."),
    "reset": ("The connection was closed in the middle.", "`--retries N`; look at proxies and limits."),
    "refused": ("Nobody listens there.", "Start the server, or check the endpoint's port."),
    "timeout": ("The connection gave no answer in time.", "Check route and firewall; raise `--timeout`."),
    "server error": ("The server failed (5xx).", "`--retries N`; look at its log."),
}  # fmt: skip

# How sure `tracekit distil` is of a value.
CONFIDENCES: dict[str, tuple[str, str]] = {
    "exact": ("It is there, op by op: counted, not estimated.", "Nothing to do."),
    "high": ("Estimated, and hardly off.", "Nothing to do, unless the run that is driven fails a criterion about it."),
    "medium": ("Estimated, and it may be off as said beside it.", "Look at the value; record for longer."),
    "low": ("A guess that fits what was recorded.", "Set the value by hand if you know it."),
    "unknown": ("The recording does not say; a stand-in lets the workload run.", "Set it by hand, or record with steps and samples."),
}  # fmt: skip

# What `tracekit dlio lint` calls its findings.
LEVELS: dict[str, tuple[str, str]] = {
    "error": ("The file cannot be run as it is.", "The finding names file, line and key, and what would do."),
    "warning": ("It can be run and may not be what was meant; `--strict` takes it for an error.", "Say what was meant."),
    "note": ("A key that does nothing here, and why.", "Nothing to do."),
}  # fmt: skip

# What `tracekit doctor` looks at; a store's line is named by scheme and client. Its way out here is written for this machine.
DOCTOR: dict[str, tuple[str, str]] = {
    "python": ("The interpreter that runs tracekit.", "Always ok."),
    "native core": ("The C core is not there: no compiler when tracekit was installed, or an interpreter it does not load into.", "Install the wheel, or a C compiler and tracekit again; the Python twins do the work until then."),
    "recorder": ("The C library's calls cannot be hooked, or not all of them.", "What is not seen is named, and in the trace's trailer; `--engine python` sees Python's own reads."),
    "mapped pages": ("Touches of mapped files cannot be seen: an old kernel, or userfaultfd is refused.", "`record --mmap map` says which files are mapped."),
    "strace": ("strace is not installed, or ptrace is refused.", "Install it, allow ptrace; `--native-children preload` does without."),
    "/proc/self/io": ("The kernel's byte counts cannot be read.", "Mount /proc; until then a recording cannot say how complete it is."),
    "clock": ("The clock source is slow or coarse.", "A machine or guest with tsc or kvm-clock."),
    "timer": ("Short sleeps wake late.", "A quieter machine, cores of its own; it is the floor of a replay's lateness."),
    "processors": ("A control group allows less than the cores that are there.", "Raise the container's limit: a replay that is stopped by it is DEGRADED."),
    "real-time priority": ("Neither CAP_SYS_NICE nor RLIMIT_RTPRIO.", "rtprio in limits.conf, or `--cap-add SYS_NICE`."),
    "idle processors": ("/dev/cpu_dma_latency may not be written.", "Let it be, or expect some tens of µs where processors sleep deeply."),
    "io_uring": ("Switched off by sysctl, by a container's seccomp filter, or an old kernel.", "Allow it; deep queues are driven by threads until then."),
    "drop caches": ("Not root.", "`--cache-start cold` drops the trace's own files without."),
    "memory": ("Less than 512 MiB available.", "Free some, or raise the container's limit."),
    "shared memory": ("There is no /dev/shm, or it is as small as container engines make it.", "`--shm-size=1g`: PyTorch's workers hand batches over there."),
    "open files": ("The hard limit is below 4,096.", "`ulimit -Hn`, `--ulimit nofile=65536`."),
    "temporary files": ("Little room, or none, where temporary files go.", "Set TMPDIR."),
    "home": ("The home directory may not be written.", "Set HOME, or MPLCONFIGDIR and XDG_CACHE_HOME: plots and frameworks keep caches there, tracekit nothing."),
    "frameworks": ("PyTorch is not installed.", "`pip install 'tracekit-io[torch]'` where DataLoader jobs are to be recorded."),
    "file system": ("Less than 1 GiB free at the URI.", "Free some, or name another place."),
    "O_DIRECT": ("The file system refuses reads past the page cache, or it could not be tried.", "Data on a disk; `replay --direct-fallback`."),
    "cache residency": ("cachestat is not there, or it could not be tried.", "Nothing to do: mincore is used."),
    "s3 by obstore": ("The store does not answer, or refuses the key, by that client.", "The line says which setting is missing, and where settings come from."),
}  # fmt: skip

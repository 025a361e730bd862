"""The typed door to the native core. Everything here has a Python twin that passes the same tests."""

from collections.abc import Callable

def now_ns() -> int:
    """CLOCK_MONOTONIC in nanoseconds."""

def precise_timers() -> None:
    """Set the calling thread's timer slack to 1 ns (prctl(2), PR_SET_TIMERSLACK).

    Raises:
        OSError: If the kernel refuses.
    """

def sleep_until(deadline_ns: int, /) -> int:
    """Sleep without the GIL to an absolute CLOCK_MONOTONIC time; return the time after waking, in ns."""

def timed_pread(fd: int, address: int, length: int, offset: int, deadline_ns: int, /) -> tuple[int, int, int, int]:
    """Wait to `deadline_ns` (0: not at all), then pread(2) `length` bytes to `address` without the GIL.

    The caller owns the memory at `address` and keeps it alive during the call.

    Returns:
        (t_submit, t_complete, result, errno): CLOCK_MONOTONIC ns on both sides of the system call, bytes read or -1,
        and the error number or 0.
    """

def replay_run(
    *,
    how: int,
    pace: int,
    ops: int,
    op_count: int,
    streams: int,
    stream_count: int,
    files: int,
    file_count: int,
    results: int,
    results_fd: int,
    chunks: int,
    turns: int,
    period: int,
    max_ops: int,
    max_bytes: int,
    max_errors: int,
    workers: int,
    handles: int,
    keys: int,
    spare_bytes: int,
    in_order: bool,
    release: bool,
    realtime: bool,
    helped: bool,
    outcome: int,
    report: Callable[[int, int, int, int], bool] | None,
) -> None:
    """Replay a plan without the interpreter lock; arrays by their addresses, laid out as in tracekit.replay.native.

    The caller keeps every array alive during the call. `results` has a row for each op and repetition; where it is 0,
    records are appended to the file `results_fd`, and at most `chunks` blocks of 2,048 of them wait in memory. Signals are
    handled 20 times a second, and `report` is called with (ops done, bytes asked for, ns spent in ops, ns the last ops
    were late); when it answers False, or a handler or it raises, the run is stopped. `outcome` is filled in any case.
    `helped` says that there are ops other than reads, for which a ring needs helpers. The run's t0 is not before what
    `outcome` has as `start` on entry; 0 is at once.

    Raises:
        ValueError: If an address, a count or the file is missing.
        OSError: If the run could not start.
    """

def replay_layouts() -> dict[str, int]:
    """Sizes of the structures of `replay_run` in bytes: op, stream, file, result, outcome."""

def uring_probe() -> tuple[int, int, int]:
    """Set up an io_uring and take it down again: (errno or 0, setup flags, features), see io_uring_setup(2)."""

def parser() -> object:
    """A new parser of trace lines, with its own tables of strings."""

def parser_columns() -> list[tuple[str, str]]:
    """The columns a parser fills, in order: (name, int64 | int32 | text | sample)."""

def parser_run(
    parser: object, text: bytes, position: int, columns: int, rows: int, capacity: int, /
) -> tuple[int, int, int, int]:
    """Read lines from `position` on into the arrays whose addresses stand at `columns`, from row `rows` on.

    It ends at the end of the last whole line, at `capacity` rows, or before a line that is not a plain op in nanoseconds.
    The arrays are filled with -1 by the caller, have room for `capacity` rows, and stay alive during the call.

    Returns:
        (position, rows, lines, present): where the next line begins, rows filled so far, lines passed, and the columns
        that got a value, as bits.

    Raises:
        ValueError: If there are no arrays, or a place is negative.
        MemoryError: If a table cannot grow.
    """

def parser_new_strings(parser: object, column: int, /) -> list[str]:
    """The strings of a column's table since the last call, in order of their codes.

    Raises:
        ValueError: If there is no such column.
    """

def parser_intern(parser: object, column: int, text: str, /) -> int:
    """The code of a string in a column's table, adding it if it is new.

    Raises:
        ValueError: If the column has no table.
        MemoryError: If the table cannot grow.
    """

def events() -> object:
    """A new scanner of dftracer's lines, with its own tables of texts."""

def events_columns() -> tuple[list[str], int]:
    """The columns a scanner fills, in order, and how many of them are texts: those come first."""

def events_read(
    events: object, text: bytes, position: int, columns: int, rows: int, capacity: int, /
) -> tuple[int, int, int]:
    """Read lines from `position` on into columns of int64 that lie one behind the other at an address, from row `rows` on.

    It ends at the end of the last whole line, at `capacity` rows, or before a line that is not a plain event. Texts are codes,
    -1 where there is none; of numbers, which are ns where they are times, an absent one is -2^63.

    Returns:
        (position, rows, lines): where the next line begins, rows filled so far, and lines passed.

    Raises:
        ValueError: If there are no columns, or a place is not within them or the text.
        MemoryError: If a table cannot grow.
    """

def events_new_texts(events: object, column: int, /) -> list[str]:
    """The texts of a column's table since the last call, in order of their codes.

    Raises:
        ValueError: If the column has no table.
    """

def events_code(events: object, column: int, text: str, /) -> int:
    """The code of a text in a column's table, adding it if it is new.

    Raises:
        ValueError: If the column has no table.
        MemoryError: If the table cannot grow.
    """

def positions() -> object:
    """Positions of open files, of which none is known."""

def positions_follow(positions: object, columns: int, count: int, /) -> None:
    """Follow calls in their order: step, tid, pid, fd, path and amount are columns of int64, one behind the other at an address.

    A seventh behind them is filled: where each call began, -1 where that is not known, -2 where it is beyond any number.

    Raises:
        ValueError: If there are no columns.
        MemoryError: If there is no room for an open file.
    """

def cells(kinds: list[tuple[int, bool, int]], between: int, least: int, open_end: bool, /) -> object:
    """A new reader of lines of cells, with its own tables of texts.

    Args:
        kinds: Of each cell what it is (0 anything, 1 a text, 2 digits, 3 a number perhaps with a fraction, 4 seconds with at most
            nine digits behind the point), whether it may not be empty, and what numbers are multiplied with.
        between: The byte that stands between two cells; 0: any blanks and tabs.
        least: How many cells a line of words has at the least. Those behind may be missing from the end on.
        open_end: Anything may follow, and the cells behind `least` are all there or not at all.

    Raises:
        ValueError: If there is no such kind, or a number is out of range.
        MemoryError: If there is no room for it.
    """

def cells_scan(
    cells: object, text: bytes, position: int, columns: int, capacity: int, /
) -> tuple[int, int, int, list[int]]:
    """Read lines from `position` on into the arrays of 64 bits whose addresses stand at `columns`, one for each cell or 0.

    It ends behind the last line that has an end, at `capacity` rows, or before a line that is odd: for the Python twin to read.
    An empty cell is -1, a text the place of its first appearance.

    Returns:
        (position, rows, lines, present): where the next line begins, rows filled, lines passed, empty ones among them, and the
        cells of which some row had a value; the arrays of others are not filled.

    Raises:
        ValueError: If there are no arrays, or a place is negative.
        MemoryError: If a table cannot grow.
    """

def cells_texts(cells: object, place: int, /) -> list[bytes]:
    """The texts of a cell since the last call, in order of their codes.

    Raises:
        ValueError: If there is no such cell.
    """

def fetch(names: bytes, ranges: int, count: int, advice: int, depth: int, /) -> int:
    """Read ranges of files to memory, in order and without the interpreter lock.

    Args:
        names: Paths, each ended by a NUL.
        ranges: Address of `count` records as in tracekit.workload.fetch; what came of each is written into it.
        count: How many there are.
        advice: One of posix_fadvise's for every file, -1 for none, or -2 for O_DIRECT (ranges and memory are whole blocks then).
        depth: How many ranges may be under way at once with O_DIRECT.

    Returns:
        How many may have been: 1 without O_DIRECT, and where no io_uring is permitted.

    Raises:
        ValueError: If a range has no name or lies below 0.
    """

def fetch_layout() -> int:
    """The size of a range's record, in bytes."""

def ranged_get(
    fd: int, request: bytes, due_ns: int, timeout_ns: int, address: int, room: int, /
) -> tuple[int, int, int, int, int, int, int, int, int, int, bytes]:
    """Wait to `due_ns` (0: not at all), send a request for a range and read the answer, without the interpreter lock.

    Args:
        fd: A connected socket that nobody else uses meanwhile.
        request: The whole head of the request.
        due_ns: On CLOCK_MONOTONIC.
        timeout_ns: How long it may take from then on.
        address: Where the body goes, `room` bytes; 0: it is let go.
        room: How much that is.

    Returns:
        (t_submit, t_first_byte, t_complete, status, count, first, errno, ended, stale, keep, text): times in ns, the first byte's is
        0 where none came; the HTTP status or 0; bytes of the body; where its Content-Range begins, or -1; whether the
        connection ended within the answer; whether it had ended before (then nothing was sent); whether it may be used again; head
        and the beginning of the body of an answer that is no 206.

    Raises:
        ValueError: If there is room without an address.
    """

def standstill_watch() -> object:
    """Look for standstills of the machine from now on, by threads of real-time priority; the watch."""

def standstill_seen(watch: object, /) -> list[bytes]:
    """End a watch.

    Returns:
        By core when a thread was woken late: begins and ends on CLOCK_MONOTONIC in ns, eight bytes each. Empty where one of the cores
        could not be looked at.
    """

def connects() -> int | None:
    """How many TCP connections the libraries loaded now opened since the first call; None where they cannot be counted."""

def crc32c(address: int, length: int, before: int, /) -> int:
    """The CRC-32C of memory, or of what came before it and it.

    Args:
        address: Where it begins.
        length: How many bytes.
        before: The checksum of what came before; 0 for nothing.

    Raises:
        ValueError: If there is no address, or the length is below 0.
    """

def emit_lines(columns: int, texts: int, start: int, stop: int, out: int, room: int, /) -> tuple[int, int]:
    """Write the lines of rows `start` up to `stop` to the memory at `out`, as many as fit into `room` bytes.

    Args:
        columns: Address of the addresses of the columns, in the order of `parser_columns`; 0 for one that is not there.
        texts: Address of three words for each column: its strings as they stand in a line, quotes included, one after the
            other; where each begins (int64, and where the last ends); how many there are.
        start: The first row.
        stop: The row after the last.
        out: Where to write.
        room: How many bytes there are.

    Returns:
        (row, bytes): the first row that was not written, and how much was. No byte means that one line needs more room.

    Raises:
        ValueError: If an address is missing, or a row has a code that is not in its column's table.
    """

def strace() -> object:
    """A new reader of strace's text: what it knows of processes and descriptors, and its own tables of strings."""

def strace_layout() -> tuple[list[str], list[str]]:
    """The columns it fills, all of int64, and the ops whose numbers stand in one of them."""

def strace_run(
    reader: object, text: int, length: int, position: int, columns: int, capacity: int, whole: bool, strict: bool, /
) -> tuple[int, int, int]:
    """Read lines of the text at an address, from `position` on, into the arrays whose addresses stand at `columns`.

    The GIL is released. The arrays have room for `capacity` rows, at least two, and stay alive during the call, as does the text.

    Args:
        reader: From `strace`.
        text: Its address: whole lines, the last one perhaps without its end.
        length: In bytes.
        position: Where to begin.
        columns: The address of the arrays' addresses.
        capacity: Of the arrays.
        whole: Nothing comes behind this text.
        strict: End behind a bad line.

    Returns:
        (position, rows, end): where the next line begins, rows filled, and why it ended: 0 the text is done, 1 there is no room for
        another line, 2 what comes can be read only with more text behind it, 3 the last line was bad.

    Raises:
        ValueError: If an address is 0, or a place is not in the text.
        MemoryError: If a table cannot grow.
    """

def strace_bad(reader: object, /) -> tuple[int, int, int, bytes]:
    """(count, line, kind, text) of the bad lines since the last call, the last three of the first of them.

    Kinds: 0 the line is none of strace, 1 the call has no result, 2 the call cannot be understood; `text` is its beginning.
    """

def strace_new_strings(reader: object, errors: bool, /) -> list[bytes]:
    """The names of ops' files, or the errors, since the last call, in order of their codes."""

def strace_finish(reader: object, /) -> list[tuple[bytes, int]]:
    """The text is at its end: what was left out, and how often."""

def tally_follow(
    count: int, group: int, uri: int, offset: int, end: int, last_uri: int, last_end: int, gap: int, before: int, /
) -> None:
    """What comes before each of `count` reads in its group; addresses of int64 arrays, the last of bytes.

    The caller keeps every array alive during the call, and sees to it that groups are from 0 and within `last_uri` and
    `last_end`, which hold -1 for a group without a read. What is written is described in tracekit.metrics.following.
    """

def tally_runs(count: int, uri: int, follows: int, lasting: int, lengths: int, /) -> int:
    """Write the lengths of the runs that end within `count` reads; how many did. `lasting` has each file's length so far."""

def tally_histogram(count: int, values: int, counts: int, /) -> tuple[int, int, int, int]:
    """Count int64 values into `tally_buckets` counts.

    Returns:
        (smallest, largest, high, low): the ends, and the sum as high * 2^64 + low.

    Raises:
        ValueError: If a value is below 0.
    """

def tally_buckets() -> int:
    """How many counts `tally_histogram` needs room for."""

def keyed_times(count: int, keys: int, times: int, bits: int, width: int, counts: int, /) -> None:
    """Count `count` times of keys into rows of `width` buckets, 2^bits of them an octave; addresses of int64 arrays.

    The caller sees to it that there is a row for every key, and that no time is negative.
    """

def keyed_ranks(count: int, width: int, counts: int, keys: int, ranks: int, buckets: int, /) -> None:
    """Write for each of `count` keys the bucket at which its row counts as many as its rank; addresses of int64 arrays."""

def power_cells(count: int, classes: int, sizes: int, times: int, counts: int, /) -> None:
    """Count ops by how many bits their sizes and their times in µs have, into rows of `classes`; addresses of int64 arrays.

    The caller sees to it that sizes are above 0, and times (ns) not below.
    """

def groups(keys: int, width: int, /) -> object:
    """A new table of rows of `width` int64 columns, of which the first `keys` are the key and the others sums.

    Raises:
        ValueError: If there is no key or more than 4, or more than 8 columns.
        MemoryError: If there is no room.
    """

def groups_add(groups: object, columns: int, start: int, count: int, most: int, /) -> tuple[int, int]:
    """Add rows whose columns' addresses stand at `columns`, from row `start` on, as long as there are at most `most` keys.

    Returns:
        (taken, keys): how many rows were added, and how many keys there are now.

    Raises:
        MemoryError: If the table cannot grow.
    """

def groups_columns(groups: object, columns: int, /) -> None:
    """Copy the rows, in order of first appearance, to the columns whose addresses stand at `columns`."""

def groups_clear(groups: object, /) -> None:
    """Forget all rows."""

def people() -> object:
    """A new table of those who issue ops: each combination of pid, tid, worker and rank has a number."""

def people_known(people: object, /) -> bytes:
    """All combinations in the order of their numbers: four int32 each, -1 for what is not known."""

def compile_rows(people: object, piece: int, /) -> None:
    """Write a piece's columns as rows; `piece` is the address of a `tk_piece` (tracekit/_native/compile.h).

    The caller keeps what it points to alive during the call, here and in the two functions below.

    Raises:
        MemoryError: If the table of people cannot grow.
    """

def compile_survey(survey: int, /) -> None:
    """Count what a block of rows wants of files, streams and machine; the address of a `tk_survey`."""

def compile_deal(deal: int, /) -> None:
    """Write a block of rows as ops behind those that their streams have so far; the address of a `tk_deal`.

    Raises:
        OSError: If the file cannot be written.
        MemoryError: As an OSError with ENOMEM.
    """

def compile_layouts() -> dict[str, int]:
    """Sizes of the structures of the compiler in bytes: row, piece, survey, deal."""

def record_start(
    directory: str, tsc: bool, detour: bool, got: bool, /
) -> tuple[str, str | None, int, list[tuple[str, str]]]:
    """Hook the C library's I/O and spool what it does into `directory` (an absolute path). Once per process.

    Args:
        directory: Where the head and the chunks go.
        tsc: Take times from the time stamp counter, not from CLOCK_MONOTONIC.
        detour: Whether the functions themselves may be patched.
        got: Whether the tables through which libraries call them may be rewritten instead.

    Returns:
        (way, reason, count, left): "detour", "got" or "none"; why not the better way, or None; how many functions (table
        entries) were hooked; and the calls that stay unseen, each with its reason.
    """

def record_touches(mode: int, /) -> str | None:
    """Look for touched pages of mapped files, from the next `record_start` on.

    Args:
        mode: 0 off, 1 page table snapshots, 2 exact (userfaultfd).

    Returns:
        Why that cannot be here, or None.

    Raises:
        ValueError: If there is no such mode.
    """

def record_raw(start: bool, /) -> str | None:
    """Catch system calls that do not come from the C library.

    Args:
        start: False before `record_start`: see whether it can be had; True after it, where the C library's functions were
            patched: begin.

    Returns:
        Why that cannot be here, or None.
    """

def record_pause(paused: bool, /) -> None:
    """Note nothing (True) or go on (False); the hooks stay in place."""

def record_line(path: str, text: str, /) -> bool:
    """Append `text` with one write, which is not noted: to a file, or to this process's lines where `path` is empty.

    Returns:
        Whether all of it is there.
    """

def record_hush(hushed: bool, /) -> bool:
    """Do not note what this thread looks up by name and lists (True), or do (False); returns how it was."""

def record_context(sample: int, step: int, epoch: int, worker: int, run: int, /) -> None:
    """What the calling thread's ops serve from here on; -1 is none (0 for `run`)."""

def record_environment(variables: list[bytes], path_entry: str | None, preload: str | None = None, /) -> None:
    """What a program started by this process gets back when its environment lacks it.

    Args:
        variables: b"NAME=value" each.
        path_entry: Goes to the front of PYTHONPATH where it is not in it.
        preload: Goes to the front of LD_PRELOAD, if any.
    """

def record_attach_plan(words: list[bytes], directory: str, /) -> None:
    """Attach strace to every process that is about to become a program that is no Python.

    Args:
        words: Its command; output and pid are added.
        directory: Where its output goes, PID-TIME.strace each.
    """

def record_attach(path: str, /) -> None:
    """Attach it to this process, which is about to execute `path`, if that is such a program."""

def record_children(wanted: bool, /) -> None:
    """Look at children when they end (True) or not (False): what the kernel counted as read by them is noted."""

def record_rescan() -> int:
    """Hook the libraries loaded since, where tables are rewritten; returns the entries rewritten."""

def record_process() -> tuple[int, int]:
    """What, with the pid, names this process's part of the spool, and CLOCK_MONOTONIC ns of its start; (0, 0): it has none."""

def record_lost(ops: int, /) -> None:
    """Count so many ops as lost."""

def clock_anchor() -> tuple[int, int]:
    """CLOCK_MONOTONIC in ns and the time stamp counter (0 where there is none) at one moment."""

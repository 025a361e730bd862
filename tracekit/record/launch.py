"""Start a program so that every Python interpreter in it records itself, wait for it, and make one trace of its parts.

The program runs as it would without us: same terminal, session and process group, same stdin and stdout, same signals.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tracekit.errors import RecorderError
from tracekit.record import bundle, residence, signals, spares, tracers
from tracekit.record.children import name_of, wait_for
from tracekit.record.engine import Choice, anchor, choose, preload_library, strace_words
from tracekit.record.startup import MODULES, PRIVATE, VARIABLE, sitecustomize_text
from tracekit.uri import local_path, scheme_of

# What becomes of started programs that are no Python: their bytes named, recorded by LD_PRELOAD or by strace, or not
# looked at.
NATIVE_CHILDREN = ("report", "preload", "strace", "off")

# As long as strace is waited for when the program has ended.
_TRACERS_END_S = 2.0
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Plan:
    """What is to be recorded and how.

    `include` and `exclude` are globs (see `files.Filter`); `output` may be None for a name made of command and pid;
    `residency` is one of `residence.CHOICES`, and `data` is what `residence.look_below` found before the run; `shown` is the
    command as a person typed it, where that is another than the one that is started; `held_back` are signals that the program
    starts with blocked, and takes when it can.
    """

    command: Sequence[str]
    output: str | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    engine: str = "auto"
    redact: bool = False
    force: bool = False
    mmap: str = "map"
    residency: str = "first-read"
    data: Mapping[str, list[Any]] = field(default_factory=dict)
    native_children: str = "report"
    raw_syscalls: bool = False
    shown: Sequence[str] = ()
    held_back: Sequence[int] = ()


@dataclass
class Run:
    """What the launcher knows about a run; kept beside the parts, so that merging needs nothing else."""

    parts: str
    output: str
    command: list[str]
    t0: int
    t0_unix_ns: int
    created: str
    engine: str
    reason: str
    options: dict[str, Any] = field(default_factory=dict)
    redact: bool = False
    force: bool = False
    pid: int = 0
    status: int | None = None
    # Processes this one waited for: (time, pid, bytes, name), see `children.Ending`.
    endings: list[tuple[int, int, int, str]] = field(default_factory=list)
    launcher: int = field(default_factory=os.getpid)
    # The variable and the library that record in programs that are no Python, where that was asked for.
    preload: tuple[str, str] | None = None
    # The strace command that is attached to them, where that was asked for.
    strace: list[str] | None = None
    kernel_bytes: int | None = None
    # The command as a person typed it; nothing where it is `command`.
    shown: list[str] = field(default_factory=list)
    # The signals that the program starts with blocked.
    held_back: list[int] = field(default_factory=list)
    anchors: list[list[int]] = field(default_factory=list)
    directory: str = field(default_factory=os.getcwd)

    def note(self) -> None:
        """Write it into the parts directory, as well as that goes: it is for those who merge later."""
        temporary = os.path.join(self.parts, "run.json.new")
        with suppress(OSError):
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump(self.__dict__, file)
            os.replace(temporary, os.path.join(self.parts, "run.json"))

    def globs(self) -> dict[str, list[str]]:
        """The include and exclude globs, those about paths made absolute where the run began."""
        return {name: [_glob(text, self.directory) for text in self.options[name]] for name in ("include", "exclude")}

    def globs_as_given(self) -> dict[str, list[str]]:
        """The include and exclude globs as they were typed."""
        return {name: self.options[name] for name in ("include", "exclude")}

    def epoch(self) -> int:
        """CLOCK_REALTIME less CLOCK_MONOTONIC, ns: what brings strace's times to the run's clock."""
        return self.t0_unix_ns - self.t0

    def clock_anchors(self) -> list[list[int]]:
        """(CLOCK_MONOTONIC ns, time stamp counter) from before and after the run; after is now where it was cut short."""
        return self.anchors if len(self.anchors) > 1 else self.anchors + [list(pair) for pair in anchor()]

    @classmethod
    def load(cls, parts: str) -> Run:
        """Read it from a parts directory.

        Raises:
            RecorderError: If there is none.
        """
        try:
            with open(os.path.join(parts, "run.json"), encoding="utf-8") as file:
                run = cls(**json.load(file))
        except (OSError, ValueError, TypeError):
            raise RecorderError(
                f"{parts} holds no recorded parts", "name the directory that record left behind"
            ) from None
        run.parts = os.path.abspath(parts)
        return run


def prepare(plan: Plan) -> Run:
    """Make the parts directory; everything that can fail before the program starts fails here.

    Raises:
        RecorderError: If there is no place for the parts, or the engine asked for cannot be used.
    """
    choice = choose(plan.engine)
    preload = _preload(plan, choice)
    strace = _strace(plan, choice)
    now, t0 = _both_clocks()
    parts = _parts_directory(plan)
    output = os.path.abspath(plan.output) if plan.output else ""
    options: dict[str, Any] = {"include": list(plan.include), "exclude": list(plan.exclude)}
    if plan.mmap != "map":
        options["mmap"] = plan.mmap
    if plan.native_children != "report":
        options["native_children"] = plan.native_children
    if plan.raw_syscalls:
        options["raw_syscalls"] = True
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now / 1e9))
    rest = (created, choice.name, choice.reason, options, plan.redact, plan.force)
    run = Run(parts, output, list(plan.command), t0, now, *rest)
    run.shown, run.held_back = list(plan.shown), list(plan.held_back)
    run.anchors = [list(pair) for pair in anchor()]
    try:
        run.preload, run.strace = preload, strace
        _write_startup(run, choice, look=plan.residency != "off")
        if plan.residency != "off":
            residence.make_table(run.parts)
            residence.keep_roots(plan.data, run.parts)
    except OSError as error:
        remove_parts(run)
        raise RecorderError(f"{parts} cannot be written: {error.strerror}", "make room there, or pass -o") from error
    return run


def follow(run: Run, watch: Callable[[], None] = lambda: None) -> int:
    """Start the program, wait for it, pass signals on; return its status as a shell would say it.

    Call it with the signals held back (`signals.held`). Afterwards `run` has the program's pid, status and byte count.

    Args:
        run: From `prepare`.
        watch: Called every second, and when a child ended, while the program runs; it must not raise.

    Raises:
        FileNotFoundError: If the program does not exist.
        PermissionError: If it may not be executed.
        OSError: If the kernel refuses it for another reason.
    """
    _adopt_orphans()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, as some parents leave it, there would be no status
    mask = signals.mask(run.held_back)
    spawn = partial(_spawn, mask) if run.strace is None else partial(tracers.spawn, run.strace, run.parts, mask)
    run.pid = spawn(run.command, _environment(run.parts, run.preload))
    if not run.output:
        run.output = os.path.abspath(default_name(run.command, run.pid))
    run.note()
    with spares.kept(run.parts) if run.engine == "native" else nullcontext():
        run.status = _wait(run, watch)
    if run.strace is not None:
        _await_tracers(run)
    run.anchors += [list(pair) for pair in anchor()]
    totals = [ending[2] for ending in run.endings]
    run.kernel_bytes = sum(totals) if min(totals, default=-1) >= 0 else None
    run.note()
    return run.status


def default_name(command: Sequence[str], pid: int) -> str:
    """`tracekit-<script or command>.<pid>.jsonl`."""
    words = [word for word in command[1:] if not word.startswith("-")] if _is_python(command[0]) else []
    named = command[command.index("-m") + 1] if "-m" in command[:-1] and _is_python(command[0]) else None
    chosen = named or next((word for word in words if word.endswith(".py")), command[0])
    stem = os.path.basename(chosen).removesuffix(".py") or "program"
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in stem)
    return f"tracekit-{safe[:80]}.{pid}.jsonl"


def remove_parts(run: Run) -> None:
    """Remove the parts directory; processes that still run stop recording, unharmed."""
    shutil.rmtree(run.parts, ignore_errors=True)


def _is_python(program: str) -> bool:
    return os.path.basename(program).startswith(("python", "pypy"))


def _parts_directory(plan: Plan) -> str:
    beside = os.path.dirname(os.path.abspath(plan.output)) if plan.output else os.getcwd()
    for place in (beside, os.path.abspath(tempfile.gettempdir())):
        try:
            return tempfile.mkdtemp(prefix=".tracekit-", suffix=".parts", dir=place)
        except OSError as error:  # noqa: PERF203  # two rounds
            reason = error.strerror
    raise RecorderError(
        f"no room for the recording beside the output or in {place}: {reason}", "set TMPDIR, or pass -o"
    )


def _write_startup(run: Run, choice: Choice, *, look: bool) -> None:
    home = os.path.join(run.parts, "start")
    os.mkdir(home)
    settings: dict[str, object] = {
        "launcher": run.launcher, "preload": run.preload, "strace": run.strace, "children": run.options.get("native_children", "report"),
        "directory": run.parts, "home": home, "package": os.path.dirname(os.path.abspath(__file__)), "modules": MODULES,
        "private": PRIVATE, "variable": VARIABLE, "t0": run.t0, "native": choice.options, "reason": choice.reason,
        "mmap": run.options.get("mmap", "map"), "raw_syscalls": run.options.get("raw_syscalls", False),
        "residency": look, **run.globs(),
    }  # fmt: skip
    text = sitecustomize_text(settings)
    with open(os.path.join(home, "sitecustomize.py"), "w", encoding="ascii") as file:
        file.write(text)
    bundle.write(home, str(settings["package"]), MODULES, text)


def _glob(text: str, directory: str) -> str:
    """A glob with a slash is about absolute paths or URIs of objects: `~` and what is relative are taken from here and now.

    Raises:
        UnknownSchemeError: If it begins with a scheme that is none.
    """
    expanded = os.path.expanduser(text)
    if "://" in expanded and scheme_of(expanded).local:
        expanded = local_path(expanded)
    if "/" not in expanded or "://" in expanded or expanded.startswith(("/", "*")):
        return expanded
    return os.path.join(directory, expanded.removeprefix("./"))


def _preload(plan: Plan, choice: Choice) -> tuple[str, str] | None:
    if plan.native_children != "preload":
        return None
    if choice.options is None:
        raise RecorderError(
            f"--native-children preload needs the native engine: {choice.reason}", "use --native-children report"
        )
    library = preload_library()
    return f"TRACEKIT_PRELOAD=tsc:{int(choice.options['tsc'])}:{library}", library


def _strace(plan: Plan, choice: Choice) -> list[str] | None:
    if plan.native_children != "strace":
        return None
    if choice.options is None:
        raise RecorderError(
            f"--native-children strace needs the native engine: {choice.reason}", "use --native-children report"
        )
    return strace_words()


def _both_clocks() -> tuple[int, int]:
    """CLOCK_REALTIME and CLOCK_MONOTONIC at one moment, ns: of some tries the one that took least."""
    tries = []
    for _ in range(5):
        before, now, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        tries.append((after - before, now, (before + after) // 2))
    return min(tries)[1:]


def _environment(parts: str, preload: tuple[str, str] | None = None) -> dict[str, str]:
    environment = dict(os.environ)
    ours = {"PYTHONPATH": os.path.join(parts, "start")}
    environment[VARIABLE] = parts
    if preload is not None:
        name, _, value = preload[0].partition("=")
        environment[name], ours["LD_PRELOAD"] = value, preload[1]
    for name, entry in ours.items():
        old = environment.get(name)
        environment[name] = f"{entry}:{old}" if old else entry
    return environment


def _spawn(mask: Collection[int], command: Sequence[str], environment: Mapping[str, str]) -> int:
    # Python ignores SIGPIPE and SIGXFSZ for itself; the program starts with what a shell would give it.
    defaults = [signal.SIGPIPE, signal.SIGXFSZ]
    try:
        return os.posix_spawnp(command[0], list(command), environment, setsigmask=mask, setsigdef=defaults)
    except OSError as error:
        # posix_spawnp reports ENOENT also for a missing interpreter of a script; the shell's answer is the same.
        if error.errno == errno.ENOTDIR:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0]) from None
        raise


def _await_tracers(run: Run) -> None:
    """Let every strace write its last lines: it ends by itself after the programs it follows, of which some may live on."""
    until = time.monotonic() + _TRACERS_END_S
    while tracers.running(run.parts) and time.monotonic() < until:
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        _reap(run)


def _adopt_orphans() -> None:
    """Become the parent of processes below whose own parent has gone, so that their bytes are counted (prctl(2), 36)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def _wait(run: Run, watch: Callable[[], None]) -> int:
    while True:
        # Asked first: the program may have ended before anybody looked.
        code = _reap(run)
        if code is not None:
            return code if code >= 0 else 128 - code
        arrived = signal.sigtimedwait(signals.WATCHED, _LOOK_EVERY_S)
        if arrived is not None and arrived.si_signo != signal.SIGCHLD:
            signals.pass_on(run.pid, arrived)
        watch()


def _reap(run: Run) -> int | None:
    """Wait for what has ended, noting first what the kernel counted for it; the program's own code once that has come."""
    code = None
    while (ended := _ended()) is not None:
        name, now = name_of(ended), time.monotonic_ns()
        total, status = wait_for(ended)
        if run.strace is None or name != "strace":  # what that read is no doing of the program's
            run.endings.append((now, ended, total, name))
        code = os.waitstatus_to_exitcode(status) if ended == run.pid else code
    return code


def _ended() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def still_running(pids: Sequence[int], parts: str) -> list[int]:
    """Which of these processes of a run live on after the program ended (daemons, background children)."""
    alive = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if os.fsencode(parts) in file.read():
                    alive.append(pid)
        except OSError:  # noqa: PERF203  # each may be gone
            continue
    return alive

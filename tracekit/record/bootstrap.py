"""What a Python interpreter of a recorded program runs before anything of its own: set up the parts and the hooks.

`sitecustomize` (written by `launch` for each run) executes this file under a private module name, in whatever Python the
program uses; tracekit need not be installed there. Nothing in here may break the program: every failure ends in "this
process is not recorded", with a line that says why.

Standard library only.
"""

from __future__ import annotations

import _thread
import os
import posix
import sys
from typing import Any

_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_AZURE = "azure.core.pipeline.transport"
_AUDITED = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system")


def start(modules: dict[str, Any], settings: dict[str, Any]) -> Any:
    """Begin to record this process.

    Args:
        modules: The sibling modules by name, loaded under private names.
        settings: directory, t0, include, exclude, home (the directory of sitecustomize), native (see `native.start`),
            residency (whether to note what is in the page cache).

    Returns:
        A module whose `recorder`, the `structure.Recorder` that `tracekit.step()` and its kin find, is made when asked for.
    """
    parts, native = modules["spool"], modules["native"]
    engine = native.start(settings["native"], settings)
    kind = parts.Spool if engine.core is None else native.quiet(parts.Spool)
    context = None if engine.core is None else native.Context(parts.NOWHERE, engine.core.record_context)
    spool = kind(settings["directory"], settings["t0"], context)
    if engine.core is not None:
        spool.append = engine.core.record_line
    places = _places()
    say_who = _introduction(spool, engine, places, settings.get("launcher", 0))
    say_who()
    if spool.pending:
        raise OSError("the parts directory cannot be written")
    spool.on_fork.append(say_who)
    files = None
    if engine.core is None:
        own = [settings["directory"], settings["home"]]
        code = modules["files"].interpreter_directories(*places, os.path.realpath)
        chosen = modules["files"].Filter(settings["include"], settings["exclude"], own=own, code=code)
        files = modules["files"].Files(
            spool, chosen, parts.FLAGS, modules["pagelook"].look if settings["residency"] else None
        )
        _wrap_os(modules, spool, files)
        _wrap_files(modules, spool, files)
        _count_imports(spool)
    else:
        _hush_imports(engine.core)
    holder = _holder(settings["private"], lambda: modules["structure"].Recorder(spool))
    _watch_imports(modules, spool, files, holder, None if engine.core is None else engine.core.record_hush)
    sys.addaudithook(_launch_watcher(spool, settings, followed=engine.core is not None))
    if engine.way == "got":
        sys.addaudithook(_library_watcher(engine.core))
    os.register_at_fork(after_in_child=_guarded(spool.after_fork))
    return holder


def _holder(name: str, make: Any) -> Any:
    holder: Any = type(sys)(name)

    def find(wanted: str) -> Any:
        if wanted != "recorder":
            raise AttributeError(wanted)
        # Two threads may come here at once; one recorder stays.
        return holder.__dict__.setdefault("recorder", make())

    holder.__getattr__ = find
    return holder


def _places() -> tuple[list[str], str, list[str]]:
    """Prefixes, version and further directories of this interpreter, for `files.interpreter_directories`."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    user = getattr(sys.modules.get("site"), "USER_SITE", None)
    return sorted(prefixes), version, [os.path.dirname(os.__file__), *([user] if user else [])]


def _above(launcher: int) -> list[int]:
    """The processes above this one, up to the launcher: which of them is no Python only shows when all have ended."""
    found: list[int] = []
    pid = posix.getppid()
    while pid not in (0, 1, launcher) and len(found) < 16:
        found.append(pid)
        try:
            fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
            try:
                pid = int(posix.read(fd, 1000).rpartition(b")")[2].split(None, 2)[1])
            finally:
                posix.close(fd)
        except (OSError, ValueError, IndexError):
            break
    return found


def _introduction(spool: Any, engine: Any, places: Any, launcher: int) -> Any:
    """What each process says first. What the native engine notes is filtered when it is merged, by `places`."""
    first = spool.pid

    def say_who() -> None:
        argv = list(getattr(sys, "orig_argv", None) or [sys.executable])
        version = ".".join(map(str, sys.version_info[:3]))
        facts = engine.facts()
        if engine.core is not None:
            facts["places"] = places
        if spool.pid == first:
            facts["above"] = _above(launcher)
        spool.line(
            process=spool.pid, ppid=posix.getppid(), argv=[str(word)[:4096] for word in argv[:256]],
            executable=sys.executable or "", python=version, rank=rank(), **facts,
        )  # fmt: skip
        # The first chunk exists before the first op, so that losses have a place to be counted.
        spool._new_stream()

    return say_who


def rank() -> int:
    """The rank of this process in a distributed job as its launcher tells it in the environment; -1 without one."""
    for name in _RANKS:
        value = os.environ.get(name, "")
        if value.isdigit():
            return int(value)
    return -1


def _wrap_os(modules: dict[str, Any], spool: Any, files: Any) -> None:
    parts, stand_in = modules["spool"], modules["callables"].stand_in
    functions = modules["osio"].OsFunctions(spool, files, parts.CODE, parts.FLAGS, modules["files"].flag_bits)
    for name, replacement in functions.replacements():
        setattr(os, name, stand_in(getattr(posix, name), replacement, "os"))


def _wrap_files(modules: dict[str, Any], spool: Any, files: Any) -> None:
    import builtins
    import io

    parts, rawio = modules["spool"], modules["rawio"]
    raw_file = rawio.recording_file(spool, files, parts.CODE, parts.FLAGS, modules["interrupts"])
    original = io.open
    opener = modules["callables"].stand_in(original, modules["opening"].recording_open(original, raw_file), "io")
    io.FileIO = raw_file  # type: ignore[misc]  # the replacement is the point
    # Not _io.open: the import system opens its files by it.
    io.open = builtins.open = opener
    import mmap

    mmap.mmap = modules["osio"].recording_mmap(spool, files, parts.CODE, rawio.Kind)  # type: ignore[misc]  # as above


def _watch_imports(modules: dict[str, Any], spool: Any, files: Any, holder: Any, hush: Any) -> None:
    imports = modules["imports"]
    after = {name: imports.note_framework(spool, name) for name in imports.FRAMEWORKS}
    if files is not None:  # the core sees numpy's C by itself
        hooks = imports.NumpyHooks(spool, files, modules["spool"].CODE)
        after["numpy"] = _both(after["numpy"], hooks.install)
    note_rank = _guarded(lambda: spool.line(rank=rank()) if rank() >= 0 else None)

    def watch_loaders(module: Any) -> None:
        hooks, patch = modules["torch_hooks"], modules["callables"].patch
        hooks.TorchHooks(holder.recorder, modules["structure"].Loop, note_rank, patch).install(module)

    after["torch.utils.data.dataloader"] = watch_loaders
    after |= _object_clients(modules, spool, hush)
    hook = imports.ImportHook(after, lambda name, error: spool.line(problem=f"no hooks for {name}: {error!r}"))
    sys.meta_path.insert(0, hook)


def _object_clients(modules: dict[str, Any], spool: Any, hush: Any) -> dict[str, Any]:
    """What is done when a client of object stores was imported, by the module that sends its requests."""
    made: list[Any] = []

    def log() -> Any:
        if not made:
            made.append(modules["object_log"].ObjectLog(spool, modules["spool"].encode, hush))
            _finish_at_end(modules, made[0])
        return made[0]

    def wire(module: str, kind: str) -> Any:
        return getattr(modules[module], kind)(log(), modules["object_log"].span_of, modules["callables"].patch)

    def logical(module: str, kind: str) -> Any:
        calls = modules["object_calls"].Calls(log(), modules["object_log"].name_of)
        return getattr(modules[module], kind)(calls, modules["object_bodies"], modules["callables"].stand_in)

    def arrow() -> Any:
        # One for all of pyarrow's modules: they share files.
        if log() is made[-1]:
            calls = modules["object_calls"].Calls(made[0], modules["object_log"].name_of)
            patch, patch_type = modules["callables"].patch, modules["callables"].patch_type
            made.append(modules["arrow_hooks"].ArrowHooks(calls, patch_type, patch, _thread._local()))
        return made[1]

    return {
        "botocore.endpoint": lambda module: wire("botocore_hooks", "BotocoreHooks").install(module),
        "aiobotocore.endpoint": lambda module: wire("botocore_hooks", "BotocoreHooks").install_async(module),
        f"{_AZURE}._requests_basic": lambda module: wire("azure_hooks", "AzureHooks").install(module),
        f"{_AZURE}._aiohttp": lambda module: wire("azure_hooks", "AzureHooks").install_async(module),
        "pyarrow._fs": lambda module: arrow().install(module),
        "pyarrow.dataset": lambda module: arrow().install_datasets(module),
        "pyarrow.parquet.core": lambda module: arrow().install_parquet(module),
        "obstore._obstore": lambda module: logical("obstore_hooks", "ObstoreHooks").install(module),
        "s3dlio._pymod": lambda module: logical("s3dlio_hooks", "S3dlioHooks").install(module),
    }


def _finish_at_end(modules: dict[str, Any], log: Any) -> None:
    """What is still open when the program ends is written then: also by `os._exit`, with which forked workers end."""
    import atexit

    atexit.register(log.finish)
    original = os._exit

    finish = _guarded(log.finish)

    def leave(*args: Any, **words: Any) -> Any:
        finish()
        return original(*args, **words)

    os._exit = modules["callables"].stand_in(original, leave, "os")


def _both(first: Any, second: Any) -> Any:
    def both(module: Any) -> None:
        first(module)
        second(module)

    return both


def _count_imports(spool: Any) -> None:
    """Count what the import system reads, which is the greater part of what a short program reads at all."""
    from _frozen_importlib_external import FileLoader

    original = FileLoader.get_data

    def get_data(self: Any, path: Any) -> bytes:
        data: bytes = original(self, path)
        spool.ignore(len(data))
        return data

    get_data.__doc__, get_data.__qualname__ = original.__doc__, original.__qualname__
    get_data.__module__ = original.__module__
    FileLoader.get_data = get_data  # type: ignore[method-assign]  # as above


def _hush_imports(core: Any) -> None:
    """What the import system looks up in directories is no I/O of the program: the Python engine leaves it out as well."""
    from _frozen_importlib_external import PathFinder

    original = PathFinder.__dict__["find_spec"].__func__

    def find_spec(cls: Any, fullname: str, path: Any = None, target: Any = None) -> Any:
        before = core.record_hush(True)
        try:
            return original(cls, fullname, path, target)
        finally:
            core.record_hush(before)

    find_spec.__doc__, find_spec.__qualname__ = original.__doc__, original.__qualname__
    find_spec.__module__ = original.__module__
    PathFinder.find_spec = classmethod(find_spec)  # type: ignore[method-assign,assignment]  # the replacement is the point


def _library_watcher(core: Any) -> Any:
    """An audit hook for the way that rewrites tables: libraries loaded since have tables of their own."""

    def watch(event: str, _args: Any) -> None:
        if event in ("import", "ctypes.dlopen"):
            core.record_rescan()

    return watch


def _launch_watcher(spool: Any, settings: dict[str, Any], *, followed: bool) -> Any:
    """An audit hook that writes which programs this process starts, and whether they can be followed.

    With `followed`, the core gives a started program back what its environment lacks.
    """
    variable, home = settings["variable"], settings["home"]

    def watch(event: str, args: Any) -> None:
        if event not in _AUDITED:
            return
        try:
            line = _launched(event, args, variable, home)
            line["equipped"] = line["equipped"] or followed
            spool.line(**line)
        except Exception:
            spool.lose(0)

    return watch


def _launched(event: str, args: Any, variable: str, home: str) -> dict[str, Any]:
    if event == "os.system":
        return {"launch": ["sh", "-c", _text(args[0])], "executable": "sh", "via": event, "equipped": True}
    executable, argv = args[0], args[1]
    environment = args[3] if event == "subprocess.Popen" else args[2]
    if isinstance(argv, (str, bytes)) or hasattr(argv, "__fspath__"):
        argv = [argv]
    words = [_text(word)[:1000] for word in list(argv)[:64]]
    return {
        "launch": words, "executable": _text(executable or words[0]), "via": event,
        "equipped": _equipped(environment, variable, home), "cwd": posix.getcwd(),
    }  # fmt: skip


def _equipped(environment: Any, variable: str, home: str) -> bool:
    """Whether a child with this environment finds our sitecustomize."""
    if environment is None:
        environment = os.environ
    known = {_text(key): _text(value) for key, value in dict(environment).items()}
    return variable in known and home in known.get("PYTHONPATH", "").split(":")


def _text(value: Any) -> str:
    return os.fsdecode(value)


def _guarded(call: Any) -> Any:
    def guarded(*args: Any) -> Any:
        try:
            return call(*args)
        except Exception:
            return None

    return guarded

"""What a Python interpreter of a recorded program runs before anything of its own: set up the parts and the hooks.

`sitecustomize` (written by `launch` for each run) executes this file under a private module name, in whatever Python the
program uses; tracekit need not be installed there. Nothing in here may break the program: every failure ends in "this
process is not recorded", with a line that says why.

Standard library only.
"""

from __future__ import annotations

import os
import posix
import sys
from typing import Any

_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
# The modules of object stores' clients after whose import something is to be done: whose hooks, and which of their methods (`object_clients`).
_AZURE = "azure.core.pipeline.transport"
_CLIENTS = {
    "botocore.endpoint": ("botocore", "install"), "aiobotocore.endpoint": ("botocore", "install_async"),
    f"{_AZURE}._requests_basic": ("azure", "install"), f"{_AZURE}._aiohttp": ("azure", "install_async"),
    "obstore._obstore": ("obstore", "install"), "s3dlio._pymod": ("s3dlio", "install"), "pyarrow._fs": ("arrow", "install"),
    "pyarrow.dataset": ("arrow", "install_datasets"), "pyarrow.parquet.core": ("arrow", "install_parquet"),
}  # fmt: skip
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
    lines, native = modules["lines"], modules["native"]
    engine = native.start(settings["native"], settings)
    kind = modules["spool"].over(lines.Lines) if engine.core is None else lines.Lines
    context = None if engine.core is None else native.Context(lines.NOWHERE, engine.core.record_context)
    spool = kind(settings["directory"], settings["t0"], context, engine.core)
    places = _places()
    say_who = _introduction(spool, engine, places, settings.get("launcher", 0))
    say_who()
    if spool.pending:
        raise OSError("the parts directory cannot be written")
    spool.on_fork.append(say_who)
    after: dict[str, Any] = {}
    if engine.core is None:
        after = modules["stand_ins"].install(modules, spool, settings, places)
    else:
        _hush_imports(engine.core)
    holder = _holder(settings["private"], lambda: modules["structure"].Recorder(spool))
    _watch_imports(modules, spool, after, holder, None if engine.core is None else engine.core.record_hush)
    sys.addaudithook(_launch_watcher(spool, settings, followed=engine.core is not None))
    if engine.way == "got":
        sys.addaudithook(_library_watcher(engine.core))
    os.register_at_fork(after_in_child=guarded(spool.after_fork))
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
        spool.first_stream()

    return say_who


def rank() -> int:
    """The rank of this process in a distributed job as its launcher tells it in the environment; -1 without one."""
    for name in _RANKS:
        value = os.environ.get(name, "")
        if value.isdigit():
            return int(value)
    return -1


def _watch_imports(modules: dict[str, Any], spool: Any, special: dict[str, Any], holder: Any, hush: Any) -> None:
    """Have something done after imports: versions noted, loaders and clients hooked, and what the engine wants (`special`)."""
    imports = modules["imports"]
    after = {name: imports.note_framework(spool, name) for name in imports.FRAMEWORKS}
    after |= special
    note_rank = guarded(lambda: spool.line(rank=rank()) if rank() >= 0 else None)

    def watch_loaders(module: Any) -> None:
        hooks, patch = modules["torch_hooks"], modules["callables"].patch
        hooks.TorchHooks(holder.recorder, modules["structure"].Loop, note_rank, patch).install(module)

    made: list[Any] = []

    def watch_client(module: Any) -> None:
        if not made:
            made.append(modules["object_clients"].Clients(modules, spool, hush))
        made[0].install(module, *_CLIENTS[module.__name__])

    after["torch.utils.data.dataloader"] = watch_loaders
    after |= dict.fromkeys(_CLIENTS, watch_client)
    hook = imports.ImportHook(after, lambda name, error: spool.line(problem=f"no hooks for {name}: {error!r}"))
    sys.meta_path.insert(0, hook)


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


def guarded(call: Any) -> Any:
    """The same function, whose failures are nobody's."""

    def tried(*args: Any) -> Any:
        try:
            return call(*args)
        except Exception:
            return None

    return tried

"""The `sitecustomize.py` that leads an interpreter to `bootstrap`, as text: it must also parse in very old Pythons.

It does its work, takes its directory off sys.path, and lets the import of `sitecustomize` go on to the one it shadowed:
found, that one stands in sys.modules as if we had never been there; missing or broken, it fails as it would without us.
"""

from __future__ import annotations

# Every one of them stands alone and gets the others as arguments; each is loaded when it is first asked for.
MODULES = (
    "native", "lines", "imports", "bootstrap", "structure", "callables", "torch_hooks",
    "spool", "files", "pagelook", "interrupts", "rawio", "opening", "osio", "stand_ins", "numpy_hooks",
    "object_clients", "object_log", "botocore_hooks", "azure_hooks", "object_calls", "object_bodies",
    "obstore_hooks", "arrow_hooks", "s3dlio_hooks",
)  # fmt: skip
VARIABLE = "TRACEKIT_RECORD"
PRIVATE = "_tracekit_recorder"

SITECUSTOMIZE = """\
# Written by tracekit record for one run; see docs/explanation/what-the-recorder-sees.md.
import sys


def _bundled(settings, name):
    # Code that was compiled beforehand, where there is some for this kind of bytecode.
    import marshal
    import posix
    from _frozen_importlib_external import MAGIC_NUMBER
    try:
        fd = posix.open(settings["home"] + "/" + name + "-" + MAGIC_NUMBER.hex(), posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        return marshal.loads(posix.read(fd, posix.fstat(fd).st_size))
    finally:
        posix.close(fd)


def _loaded(settings, bundled):
    kind = type(sys)

    class Modules(dict):
        def __missing__(self, name):
            module = kind("_tracekit_" + name)
            module.__file__ = settings["package"] + "/" + name + ".py"
            # Our frames are one line each in the program's tracebacks, and none in pytest's.
            module.__tracebackhide__ = True
            code = bundled.pop(name, None) or _bundled(settings, name) or self._read(name, module.__file__)
            self[name] = sys.modules["_tracekit_" + name] = module
            exec(code, module.__dict__)
            return module

        def _read(self, name, path):
            from _frozen_importlib_external import SourceFileLoader
            from _imp import _fix_co_filename
            code = SourceFileLoader("_tracekit_" + name, path).get_code("_tracekit_" + name)
            _fix_co_filename(code, "<tracekit record>")
            return code

    return Modules()


def _record(settings, bundled):
    import os
    if os.environ.get(settings["variable"]) != settings["directory"] or settings["private"] in sys.modules:
        return
    if sys.version_info < (3, 10):
        raise RuntimeError("Python %d.%d is older than 3.10" % sys.version_info[:2])
    if bundled is None:
        bundled = (_bundled(settings, "code") or {"modules": {}})["modules"]
    modules = _loaded(settings, bundled)
    sys.modules[settings["private"]] = modules["bootstrap"].start(modules, settings)


def _apologise(settings):
    # Not recorded: say so where the launcher finds it, and leave the program alone.
    import os
    try:
        text = "%s: %s" % sys.exc_info()[:2]
        name = "%s/%d-failed.txt" % (settings["directory"], os.getpid())
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 384)
        try:
            os.write(fd, text.encode("ascii", "backslashreplace"))
        finally:
            os.close(fd)
    except Exception:
        pass


def _step_aside(home):
    sys.path[:] = [entry for entry in sys.path if entry != home]
    sys.path_importer_cache.pop(home, None)


def _begin(settings, bundled=None):
    # What is made here stays: looking through it for garbage is in vain, and takes a good part of the time.
    known = "gc" in sys.modules
    import gc
    collects = gc.isenabled()
    gc.disable()
    try:
        _record(settings, bundled)
    except Exception:
        _apologise(settings)
    if collects:
        gc.enable()
    if not known:
        del sys.modules["gc"]
    _step_aside(settings["home"])


_settings = {settings!r}
if __name__ == "sitecustomize":
    _begin(_settings)
    sys.modules.pop("sitecustomize", None)
    import sitecustomize
"""


def sitecustomize_text(settings: dict[str, object]) -> str:
    """The file's content for one run; `settings` are plain values."""
    return SITECUSTOMIZE.replace("{settings!r}", ascii(settings))

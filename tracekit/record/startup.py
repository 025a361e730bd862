"""The `sitecustomize.py` that leads an interpreter to `bootstrap`, as text: it must also parse in very old Pythons.

It does its work, takes its directory off sys.path, and lets the import of `sitecustomize` go on to the one it shadowed:
found, that one stands in sys.modules as if we had never been there; missing or broken, it fails as it would without us.
"""

from __future__ import annotations

# Every one of them stands alone and gets the others as arguments; each is loaded when it is first asked for.
MODULES = (
    "native", "spool", "files", "callables", "interrupts", "rawio", "opening", "osio", "structure", "imports",
    "torch_hooks", "bootstrap",
)  # fmt: skip
VARIABLE = "TRACEKIT_RECORD"
PRIVATE = "_tracekit_recorder"

SITECUSTOMIZE = """\
# Written by tracekit record for one run; see docs/explanation/what-the-recorder-sees.md.
import sys


def _record(settings):
    import os
    if os.environ.get(settings["variable"]) != settings["directory"]:
        return
    if sys.version_info < (3, 10):
        raise RuntimeError("Python %d.%d is older than 3.10" % sys.version_info[:2])
    from _frozen_importlib_external import SourceFileLoader
    from _imp import _fix_co_filename
    kind = type(sys)

    class Modules(dict):
        def __missing__(self, name):
            path = settings["package"] + "/" + name + ".py"
            module = kind("_tracekit_" + name)
            module.__file__ = path
            # Our frames are one line each in the program's tracebacks, and none in pytest's.
            module.__tracebackhide__ = True
            code = SourceFileLoader("_tracekit_" + name, path).get_code("_tracekit_" + name)
            _fix_co_filename(code, "<tracekit record>")
            self[name] = sys.modules["_tracekit_" + name] = module
            exec(code, module.__dict__)
            return module

    modules = Modules()
    holder = kind(settings["private"])
    holder.recorder = modules["bootstrap"].start(modules, settings)
    sys.modules[settings["private"]] = holder


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
    sys.modules.pop("sitecustomize", None)


_settings = {settings!r}
try:
    _record(_settings)
except Exception:
    _apologise(_settings)
_step_aside(_settings["home"])
import sitecustomize
"""


def sitecustomize_text(settings: dict[str, object]) -> str:
    """The file's content for one run; `settings` are plain values."""
    return SITECUSTOMIZE.replace("{settings!r}", ascii(settings))

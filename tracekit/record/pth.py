"""The way in that an installed tracekit has: `begin`, put into a .pth file by the build, runs when an interpreter starts.

It runs in every interpreter of the environment, for as long as tracekit is installed: one look at the environment is all
it may cost where nothing is recorded, and nothing it does may be noticed where something goes wrong. Interpreters started
with -I or -E come in here, which leave PYTHONPATH out; ours on PYTHONPATH serves those that have no such file.
"""

from __future__ import annotations

VARIABLE = "TRACEKIT_RECORD"
FILE_NAME = "_tracekit_record.pth"  # sorted before most: the earlier, the more is seen

# What it runs is what `record` wrote for this run, and only where nobody else can have: the variable alone must not lead an
# interpreter that was told to trust nothing (-I) to code of another user. `site` prints what a line raises, so none may.
BEGIN = """\
try:
    import marshal, posix, sys
    from _frozen_importlib_external import MAGIC_NUMBER
    run = os.environ["{variable}"]
    place = posix.stat(run)
    if sys.version_info >= (3, 10) and place.st_uid == posix.geteuid() == posix.getuid() and not place.st_mode & 0o22:
        try:
            fd = posix.open(run + "/start/code-" + MAGIC_NUMBER.hex(), posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError:
            with open(run + "/start/sitecustomize.py") as file:
                code, bundle = compile(file.read(), "<tracekit record>", "exec"), None
        else:
            bundle = marshal.loads(posix.read(fd, posix.fstat(fd).st_size))
            posix.close(fd)
            code, bundle = bundle["start"], bundle["modules"]
        names = {{"__name__": "_tracekit_start"}}
        exec(code, names)
        names["_begin"](names["_settings"], bundle)
except Exception:
    pass
"""


def line() -> str:
    """The .pth file's only line. Any Python can parse it; `site` runs it because it begins with `import`."""
    begin = BEGIN.format(variable=VARIABLE)
    return f'import os; os.environ.get("{VARIABLE}") and exec({begin!r}, {{"os": os}})\n'

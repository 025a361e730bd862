"""A small kernel whose calls are printed as strace prints them, and the readers that are to make the same of it."""

from collections import Counter
from dataclasses import dataclass, field

from tracekit.formats.foreign import Stateful
from tracekit.formats.strace import Strace

ROOT, EPOCH = 100, 1_700_000_000_000_000_000
FILES = {"/w/a": 100, "/w/b": 1000, "/w/7": 5000}
FORKS = {"clone": "clone(child_stack=NULL, flags=SIGCHLD", "vfork": "vfork("}
THREAD = "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}"


@dataclass(eq=False)
class Opened:
    """An open file description. `user`: the program holds a lock around what moves its position."""

    path: str
    position: int = 0
    user: int | None = None


@dataclass
class Process:
    """Descriptors, and what the program knows of them: those that were returned and are not being closed."""

    pid: int
    table: dict[int, Opened] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    used: Counter = field(default_factory=Counter)
    closing: int = 0
    forking: int = 0


@dataclass
class Thread:
    """Who runs calls, one at a time: each is a generator that stops before its effect, and before its end is printed."""

    tid: int
    process: Process
    left: int
    running: object = None
    made: str = ""


class Machine:
    """Runs random programs in a random order, and keeps what strace would print and what really happened."""

    def __init__(self, random, *, names):
        self.random, self.names = random, names
        self.lines, self.open_line = [], None
        self.truth = Counter()
        self.threads = [Thread(ROOT, Process(ROOT), random.randint(5, 40))]
        self.next_pid = ROOT + 1

    def run(self):
        """Everything to its end."""
        while self.threads:
            ready = [thread for thread in self.threads if not self._waits(thread)]
            thread = self.random.choice(ready)
            if thread.running is None:
                self._start(thread)
            elif next(thread.running, self) is self:
                thread.running = None

    def _waits(self, thread):
        """Whether it waits for the child that it made by vfork."""
        return isinstance(thread.made, Thread) and thread.made in self.threads

    # -- what strace prints

    def begin(self, tid, text):
        """The beginning of a call."""
        self._cut()
        self.lines.append(self._stamp(tid) + text)
        self.open_line = tid

    def end(self, tid, name, result):
        """The end of a call, on its own line if another was begun meanwhile."""
        if self.open_line == tid:
            self.lines[-1] += f") = {result} <0.000001>"
        else:
            self._cut()
            self.lines.append(self._stamp(tid) + f"<... {name} resumed>) = {result} <0.000001>")
        self.open_line = None

    def say(self, tid, text):
        """A line of its own."""
        self._cut()
        self.lines.append(self._stamp(tid) + text)

    def _cut(self):
        if self.open_line is not None:
            self.lines[-1] += " <unfinished ...>"
            self.open_line = None

    def _stamp(self, tid):
        return f"{tid} 1700000000.{len(self.lines) + 1:09d} "

    def fd(self, number, opened):
        """A descriptor, with its name where strace shows names."""
        return f"{number}<{opened.path}>" if self.names else str(number)

    # -- what threads do next

    def _start(self, thread):
        process = thread.process
        if thread.left == 0:
            self.say(thread.tid, "+++ exited with 0 +++")
            self.threads.remove(thread)
            return
        thread.left -= 1
        free = [fd for fd in sorted(process.known) if not process.used[fd]]
        quiet = [fd for fd in sorted(process.known) if process.table[fd].user is None]
        able = [self._open]
        if quiet:
            able += [self._read, self._read, self._seek]
        if process.known:
            able.append(self._dup)
        if free and not process.forking:
            able += [self._close, self._close]
            if len(process.known) > 1:
                able.append(self._dup2)
        able.append(self._bad_close)
        if len(self.threads) < 5 and thread.left > 3:
            able.append(self._thread)
            if not process.closing:
                able.append(self._fork)
        if not self.lines:
            able = [self._open]  # a file without any op is refused
        thread.running = self.random.choice(able)(thread, process, free, quiet)
        next(thread.running)

    def _lowest(self, process):
        return next(fd for fd in range(3, 99) if fd not in process.table)

    def _open(self, thread, process, _free, _quiet):
        path = self.random.choice(sorted(FILES))
        self.begin(thread.tid, f'openat(AT_FDCWD, "{path}", O_RDONLY')
        yield
        fd = self._lowest(process)
        process.table[fd] = Opened(path)
        yield
        self.end(thread.tid, "openat", self.fd(fd, process.table[fd]))
        process.known.add(fd)

    def _read(self, thread, process, _free, quiet):
        fd = self.random.choice(quiet)
        opened, asked = process.table[fd], self.random.randint(1, 90)
        opened.user, process.used[fd] = thread.tid, process.used[fd] + 1
        self.begin(thread.tid, f"read({self.fd(fd, opened)}, ")
        yield
        at = opened.position
        got = min(asked, max(0, FILES[opened.path] - at))
        opened.position += got
        self.truth[process.pid, thread.tid, opened.path, at, got] += 1
        yield
        if self.open_line == thread.tid:
            self.lines[-1] += f'""..., {asked}'
            self.end(thread.tid, "read", got)
        else:
            self._cut()
            self.lines.append(self._stamp(thread.tid) + f'<... read resumed>""..., {asked}) = {got} <0.000001>')
        opened.user, process.used[fd] = None, process.used[fd] - 1

    def _seek(self, thread, process, _free, quiet):
        fd = self.random.choice(quiet)
        opened, to = process.table[fd], self.random.randint(0, 500)
        opened.user, process.used[fd] = thread.tid, process.used[fd] + 1
        self.begin(thread.tid, f"lseek({self.fd(fd, opened)}, {to}, SEEK_SET")
        yield
        opened.position = to
        yield
        self.end(thread.tid, "lseek", to)
        opened.user, process.used[fd] = None, process.used[fd] - 1

    def _dup(self, thread, process, _free, _quiet):
        old = self.random.choice(sorted(process.known))
        process.used[old] += 1
        words = self.random.choice(["dup({})", "fcntl({}, F_DUPFD_CLOEXEC, 0)"])
        text = words.format(self.fd(old, process.table[old]))[:-1]
        self.begin(thread.tid, text)
        yield
        new = self._lowest(process)
        process.table[new] = process.table[old]
        yield
        self.end(thread.tid, text.partition("(")[0], self.fd(new, process.table[new]))
        process.used[old] -= 1
        process.known.add(new)

    def _dup2(self, thread, process, free, _quiet):
        new = self.random.choice(free)
        old = self.random.choice(sorted(process.known - {new}))
        process.known.remove(new)
        process.used[old] += 1
        process.closing += 1
        self.begin(thread.tid, f"dup2({self.fd(old, process.table[old])}, {self.fd(new, process.table[new])}")
        yield
        process.table[new] = process.table[old]
        yield
        self.end(thread.tid, "dup2", self.fd(new, process.table[new]))
        process.used[old] -= 1
        process.closing -= 1
        process.known.add(new)

    def _close(self, thread, process, free, _quiet):
        fd = self.random.choice(free)
        process.known.remove(fd)
        process.closing += 1
        self.begin(thread.tid, f"close({self.fd(fd, process.table[fd])}")
        yield
        del process.table[fd]
        yield
        self.end(thread.tid, "close", self.random.choice(["0", "0", "-1 EINTR (Interrupted system call)"]))
        process.closing -= 1

    def _bad_close(self, thread, *_):
        self.begin(thread.tid, "close(999")
        yield
        yield
        self.end(thread.tid, "close", "-1 EBADF (Bad file descriptor)")

    def _thread(self, thread, process, _free, _quiet):
        self.begin(thread.tid, THREAD)
        yield
        child = self._child(thread, process)
        yield
        self.end(thread.tid, "clone3", child.tid)

    def _fork(self, thread, process, _free, _quiet):
        name = self.random.choice(sorted(FORKS))
        process.forking += 1
        self.begin(thread.tid, FORKS[name])
        yield
        copy = Process(self.next_pid, dict(process.table), set(process.known))
        child = self._child(thread, copy)
        thread.made = child if name == "vfork" else ""
        yield
        self.end(thread.tid, name, child.tid)
        process.forking -= 1

    def _child(self, thread, process):
        child = Thread(self.next_pid, process, self.random.randint(1, thread.left))
        thread.left -= child.left
        self.next_pid += 1
        self.threads.append(child)
        return child


def printed(random, directory, *, names, before=()):
    """A machine that ran to its end, and the file that strace wrote of it."""
    machine = Machine(random, names=names)
    for text in before:
        machine.say(ROOT, text)
    machine.run()
    path = directory / f"{ROOT}-1.strace"
    path.write_text("".join(f"{line}\n" for line in machine.lines))
    return machine, path


class ByRows(Strace):
    """The importer as it is where there is no native core."""

    batches = Stateful.batches


READERS = [Strace, ByRows]

"""What stands in the arguments of a call as strace shows them: descriptors with their files, strings, flags, lengths."""

from __future__ import annotations

import os
import re

from tracekit.formats.foreign import MAX_NS

FD = re.compile(rb"(-?\d+|AT_FDCWD)(?:<((?:[^<>\\]|\\.)*)(?:<[^>]*>)?>)?(\(deleted\))?")
SHOWN = re.compile(rb"<(/(?:[^<>\\]|\\.)*)")
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9a-f]{2}|.)", re.DOTALL)
_INTEGER = re.compile(rb"-?(?:0x[0-9a-fA-F]+|0|[1-9]\d*)")
_MOST_DIGITS = 30
_PLAIN = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f", b"a": b"\a", b"b": b"\b", b"e": b"\x1b"}


def strings(args: bytes) -> list[bytes]:
    """The strings in some arguments, as they stand there."""
    return [found[1] for found in _STRING.finditer(args)]


def descriptor(args: bytes) -> int:
    """The descriptor that some arguments begin with; -1 for none, and for AT_FDCWD."""
    match = FD.match(args)
    if match is None or match[1] == b"AT_FDCWD":
        return -1
    fd = number(match[1])
    return -1 if fd is None else fd


def number(digits: bytes, base: int = 10) -> int | None:
    """A number of digits; None where it is larger than any offset, size or time.

    Raises:
        ValueError: If it has more digits than anything that the kernel says.
    """
    if len(digits) > _MOST_DIGITS:
        raise ValueError
    value = int(digits, base)
    return value if -MAX_NS <= value <= MAX_NS else None


def integer(text: bytes) -> int | None:
    """A number in C's notation; None for what is none.

    Raises:
        ValueError: As for `number`.
    """
    text = text.strip()
    return number(text, 0) if _INTEGER.fullmatch(text) else None


def size(name: bytes, args: bytes) -> int | None:
    """What a transfer asked for; None where strace shows vectors, whose lengths it may cut."""
    if b"v" in name:
        lengths = [number(length) for length in re.findall(rb"iov_len=(\d+)", args)]
        total = sum(length or 0 for length in lengths)
        return None if None in lengths or total > MAX_NS else total or None
    fields = args.rsplit(b", ", 2 if name in (b"pread64", b"pwrite64") else 1)
    return integer(fields[1]) if len(fields) > 1 else None


def flags(args: bytes) -> tuple[str, ...]:
    """The flags of an open."""
    return tuple(word.decode() for word in re.findall(rb"\bO_[A-Z_]+", _STRING.sub(b"", args)))


def flag_words(given: tuple[str, ...]) -> str | None:
    """Flags in the words of the trace format."""
    known = {
        "O_DIRECT": "direct",
        "O_APPEND": "o_append",
        "O_CREAT": "o_creat",
        "O_TRUNC": "o_trunc",
        "O_SYNC": "o_sync",
    }
    return ",".join(known[flag] for flag in known if flag in given) or None


def split(args: bytes) -> list[bytes]:
    """The arguments one by one; brackets hold together."""
    return re.split(rb", (?![^\[]*\])", args)


def unescaped(text: bytes) -> str:
    """A string as strace shows it, without its quotes, as a name."""

    def plain(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code[:1] in b"01234567":
            return bytes([int(code, 8) & 0xFF])
        return bytes([int(code[1:], 16)]) if code[:1] == b"x" and len(code) == 3 else _PLAIN.get(code, code)

    return os.fsdecode(_ESCAPE.sub(plain, text) if b"\\" in text else text)


def path_named(args: bytes) -> str:
    """The path an argument list names, absolute where strace says what it is relative to."""
    text = _STRING.search(args)
    if text is None:
        return ""
    path = unescaped(text[1])
    base = FD.match(args)
    if path and not path.startswith("/") and base is not None and base[2]:
        path = os.path.normpath(unescaped(base[2]) + "/" + path)
    return path

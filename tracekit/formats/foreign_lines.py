"""The bytes of another tool's file: decompressed where they are compressed, and in blocks of whole lines.

What is damaged ends the file, and is said; a line without an end is bad. A block that cannot be read as columns is halved until
what stops it stands almost alone, so that one odd line costs no more than itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from tracekit.errors import InputError
from tracekit.formats.reading import DAMAGED, unpacked

if TYPE_CHECKING:
    from tracekit.formats.foreign import Foreign

LINE_LIMIT = 1 << 20
# In larger ones the same names are met again less often; smaller ones fit the caches.
_BLOCK_BYTES = 1 << 22
# No more are read one by one for the sake of one that is odd.
_FEW_BYTES = 1 << 11
_Found = TypeVar("_Found")


def blocks(source: Foreign) -> Iterator[bytes]:
    """The file's bytes in blocks; what is damaged ends it, and is said."""
    got = 0
    try:
        with unpacked(source.path) as file:
            while data := file.read(_BLOCK_BYTES):
                got += len(data)
                yield data
    except DAMAGED as error:
        problem = error
    else:
        return
    for data in _rest(source.path, got):
        got += len(data)
        yield data
    if not got:
        raise InputError(f"{source.path} cannot be decompressed ({problem})", "name a whole file") from None
    source.told.cut_short = True
    source.told.warnings.append(
        f"{source.path}: the compressed data is damaged or cut short; what came before it was read"
    )


def _rest(path: str, got: int) -> Iterator[bytes]:
    """What a damaged stream gives behind its first `got` bytes: nothing of the read that meets the damage, so small ones lose little."""
    with suppress(*DAMAGED), unpacked(path) as file:
        while got > 0 and (data := file.read(min(got, _BLOCK_BYTES))):
            got -= len(data)
        while data := file.read(_BLOCK_BYTES >> 6):
            yield data


def line_blocks(source: Foreign) -> Iterator[tuple[int, bytes]]:
    """The file's lines, many in one, with the number of the first; endless ones are bad and left out."""
    number, rest, skipping = 1, b"", False
    for block in blocks(source):
        end = block.rfind(b"\n") + 1
        if end:
            # The end of a line that was too long is no line.
            text = block[block.index(b"\n") : end] if skipping else b"".join((rest, memoryview(block)[:end]))
            yield number, text
            number, rest, skipping = number + text.count(b"\n"), block[end:], False
        elif not skipping:
            rest += block
        if len(rest) > LINE_LIMIT:
            source.reject(number, f"the line is longer than {LINE_LIMIT >> 20} MiB")
            rest, skipping = b"", True
    if rest:
        yield number, rest


def numbered(number: int, text: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a block with their numbers, without line ends; blank ones are left out."""
    for line in text.split(b"\n"):
        if line and line != b"\r":
            yield number, line
        number += 1


def has_lines(text: bytes, count: int) -> bool:
    """Whether so many lines of a block are not blank."""
    unended = bool(text) and not text.endswith(b"\n")
    return count == text.count(b"\n") + unended or count == sum(1 for _ in numbered(0, text))


def lines(source: Foreign) -> Iterator[tuple[int, bytes]]:
    """All lines of the file with their numbers, without line ends; blank ones are left out."""
    for number, text in line_blocks(source):
        yield from numbered(number, text)


def by_halves(
    number: int, text: bytes, whole: Callable[[bytes], _Found | None], single: Callable[[int, bytes], _Found]
) -> Iterator[_Found]:
    """What is found in a block of lines.

    Args:
        number: That of the first line.
        text: The lines.
        whole: Finds it in many lines at once, or gives None where one of them is odd.
        single: Finds it line by line, in few.
    """
    found = whole(text)
    if found is not None:
        yield found
        return
    half = text.rfind(b"\n", 0, max(len(text) // 2, 1)) + 1 or text.find(b"\n") + 1
    if len(text) <= _FEW_BYTES or not 0 < half < len(text):
        yield single(number, text)
        return
    yield from by_halves(number, text[:half], whole, single)
    yield from by_halves(number + text.count(b"\n", 0, half), text[half:], whole, single)

"""Stand-ins for built-in functions that a program cannot tell from the originals by using them.

A plain Python function in place of `open` or `os.open` would bind `self` when a class keeps it as an attribute, would not
be found in `os.supports_dir_fd`, and would pickle under another name. A stand-in is therefore an object of a class of its
own: not a descriptor, equal to the original and hashing like it, pickled by the original's name.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class StandIn:
    """Base of all stand-ins; subclasses add `__call__` as a static method."""

    __slots__ = ("_home", "_original")

    def __init__(self, original: Any, home: str) -> None:
        self._original = original
        self._home = home

    @property
    def __class__(self) -> Any:
        return type(self._original)

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise TypeError("__class__ assignment only supported for mutable types or ModuleType subclasses")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    @property
    def __doc__(self) -> Any:  # type: ignore[override]  # the original's
        return self._original.__doc__

    @property
    def __module__(self) -> Any:  # type: ignore[override]  # as above
        # Where it stands, which may be `os` instead of `posix`: pickle looks there and must find this very object.
        return self._home

    def __repr__(self) -> str:
        return repr(self._original)

    def __eq__(self, other: object) -> bool:
        if type(other) is type(self):
            return True
        return bool(self._original == other)

    def __hash__(self) -> int:
        return hash(self._original)

    def __reduce__(self) -> str:
        return str(self._original.__qualname__)

    def __reduce_ex__(self, _protocol: Any) -> str:
        return self.__reduce__()

    def __copy__(self) -> StandIn:
        return self

    def __deepcopy__(self, _memo: Any) -> StandIn:
        return self

    def __dir__(self) -> list[str]:
        return dir(self._original)


def stand_in(original: Any, replacement: Callable[..., Any], home: str) -> Any:
    """An object that is called as `replacement` and is `original`, of the module `home`, in every other respect."""
    # A static method costs one binding less than a `__call__` that passes its arguments on.
    body: dict[str, Any] = {"__slots__": (), "__call__": staticmethod(replacement)}
    # `type` would set these two on the new class, over what StandIn says.
    body.update({name: StandIn.__dict__[name] for name in ("__doc__", "__module__")})
    return type("builtin_function_or_method", (StandIn,), body)(original, home)


def patch(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of a class's method in its place, under the method's own name."""
    original = getattr(owner, name)
    replacement = make(original)
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
        if hasattr(original, attribute):
            setattr(replacement, attribute, getattr(original, attribute))
    replacement.__wrapped__ = original
    setattr(owner, name, replacement)


def patch_type(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """The same of a method of a type that takes no new ones: in the dictionary behind it.

    Raises:
        KeyError: If it has no such method of its own.
        ImportError: If this Python has no ctypes, by which it is told that a type has changed.
    """
    import ctypes
    import gc

    (space,) = (one for one in gc.get_referents(owner.__dict__) if isinstance(one, dict))
    original = space[name]
    replacement = make(original)
    for attribute in ("__name__", "__qualname__", "__doc__"):
        setattr(replacement, attribute, getattr(original, attribute))
    replacement.__wrapped__ = original
    space[name] = replacement
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))

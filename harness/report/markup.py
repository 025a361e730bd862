"""HTML and SVG elements as text: whatever is not already markup is escaped, so that no file name can become any."""

from __future__ import annotations

from html import escape

_VOID = {"meta", "br", "hr", "line", "rect", "circle", "path", "polygon", "col"}


class Markup(str):
    """Text that is already markup."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """An element.

    Args:
        name: Its name.
        *children: What is in it; strings that are no `Markup` are escaped.
        **attributes: Its attributes: `class_` is class, other underscores are hyphens; None leaves one out, numbers are rounded.
    """
    written = "".join(f' {_named(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    if name in _VOID and not children:
        return Markup(f"<{name}{written}>" if name in {"meta", "br", "hr", "col"} else f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """Several pieces one after the other."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children))


def number(value: float) -> str:
    """A coordinate: one decimal is a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def _named(key: str) -> str:
    return key.removesuffix("_").replace("_", "-") if key != "viewBox" else key


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else number(value)

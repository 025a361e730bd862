"""What every command's help and every refused argument say, in one place.

Help names each default and the exit codes. A word that is not known is answered with the nearest that is.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from tracekit.errors import UsageError, nearest

_EXITS = "exit codes: 0 done, 2 bad input, 4 something could not be read or run"
_KINDS = {"int": "a whole number", "float": "a number"}
_BAD_VALUE = re.compile(r"argument (?P<name>[^:]+): invalid (?P<kind>int|float) value: (?P<value>.*)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence like every other error; the whole usage would push it out of sight."""

    def error(self, message: str) -> NoReturn:
        """Refuse an argument.

        Raises:
            UsageError: Always.
        """
        if wrong := _BAD_VALUE.fullmatch(message):
            message = f"{wrong['name']} takes {_KINDS[wrong['kind']]}, not {wrong['value']}"
        raise UsageError(message, f"see {self.prog} --help")

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse drops help that could not be written, and ends as if it had been.
        if file is None or file is not sys.stdout:
            super()._print_message(message, file)
            return
        file.write(message)
        file.flush()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse lists all there are; whoever mistyped one wants to see that one.
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        near = nearest(str(value), known)
        hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(known)}"
        what = "/".join(action.option_strings) or action.metavar or action.dest
        raise argparse.ArgumentError(None, f"there is no {value!r} for {what} ({hint})")


def complete(parser: argparse.ArgumentParser) -> None:
    """Let the help of a verb, and of the verbs below it, name every default and the exit codes."""
    below = list(_below(parser))
    for command in below:
        complete(command)
    for action in parser._actions:
        if has_default(action) and "default" not in str(action.help):
            shown = f"{action.default:g}" if isinstance(action.default, float) else "%(default)s"
            action.help = f"{action.help} (default: {shown})"
    if not below and "exit " not in f"{parser.description}{parser.epilog}".lower():
        parser.epilog = f"{(parser.epilog or '').rstrip()}\n\n{_EXITS}".lstrip()


def has_default(action: argparse.Action) -> bool:
    """Whether there is a default that people should know: not the absence of what an option would give."""
    return action.default not in (None, False, "", [], argparse.SUPPRESS) and action.help is not argparse.SUPPRESS


def chosen(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.ArgumentParser:
    """The parser of the verb that arguments name, at any depth."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            named = getattr(args, action.dest, None)
            return chosen(action.choices[named], args) if named in action.choices else parser
    return parser


def not_known(words: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """What is wrong with words that a verb does not take; for an option the nearest that it has."""
    option = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
    if option is None:
        return f"{words[0]!r} is one argument too many"
    near = nearest(option, [name for name in parser._option_string_actions if name.startswith("--")])
    return f"there is no option {option}" + (f" (did you mean {near}?)" if near else "")


def _below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()

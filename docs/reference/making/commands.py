"""The commands as records: every verb of a program with its options, read from the argparse tree that runs.

Pages, man pages and completions are renderings of these; none of them looks at argparse itself, whose own texts differ from one
version of Python to the next.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass

from harness import cli as harness_cli
from tracekit import cli as tracekit_cli
from tracekit import teaching

_EXITS = re.compile(r"(?:exit codes|exit status|the exit status is)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Argument:
    """An option, or an argument by position.

    Args:
        names: Its spellings; none for one by position.
        value: What it takes, as help shows it; empty for a switch.
        choices: The words it takes, where it takes only some.
        default: What holds where it is not given; empty where there is nothing to say.
        meaning: What it does.
        repeats: Whether it may be given several times.
        required: Whether it has to be given.
        group: The heading it stands under.
        many: How many values argparse takes ("?", "*", "+", "..."), or nothing.
    """

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    default: str
    meaning: str
    repeats: bool
    required: bool
    group: str
    many: str

    @property
    def spelled(self) -> str:
        """The option as people write it: `-o, --output TRACE`."""
        return f"{', '.join(self.names)} {self.value}".strip()

    @property
    def words(self) -> tuple[str, ...]:
        """The words to choose from, also where only the value's own name lists them."""
        if self.choices or "|" not in self.value:
            return self.choices
        return tuple(word for word in self.value.split("|") if re.fullmatch(r"[a-z][a-z0-9.-]*", word))


@dataclass(frozen=True)
class Command:
    """A program, or a verb of it.

    Args:
        name: Its full name: `tracekit dlio lint`.
        summary: One line.
        about: What it does, in paragraphs.
        usage: A synopsis of its own; empty where it follows from the arguments.
        after: What follows its options: remarks, tables.
        examples: The example lines.
        exits: What its exit codes mean.
        arguments: Options and arguments, in order.
        below: Its verbs.
    """

    name: str
    summary: str
    about: str
    usage: str
    after: str
    examples: str
    exits: str
    arguments: tuple[Argument, ...]
    below: tuple[Command, ...]

    @property
    def options(self) -> list[Argument]:
        """Arguments with a name."""
        return [each for each in self.arguments if each.names]

    @property
    def positions(self) -> list[Argument]:
        """Arguments by position."""
        return [each for each in self.arguments if not each.names]

    @property
    def synopsis(self) -> str:
        """How it is called: what must be given is written out."""
        if self.usage:
            return self.usage
        if self.below:
            return f"{self.name} [OPTION]... VERB ..."
        must = [each.spelled.split(", ")[-1] for each in self.options if each.required]
        return " ".join([self.name, *must, "[OPTION]...", *map(_position, self.positions)])

    def walk(self) -> Iterator[Command]:
        """This one and all below it."""
        yield self
        for each in self.below:
            yield from each.walk()


def programs() -> tuple[Command, Command]:
    """`tracekit` and `harness`, whole."""
    about = ("record a training job's I/O, replay it, drive workloads", "say whether a trace is like another")
    parsers = (tracekit_cli.whole_parser(), harness_cli.whole_parser())
    return tuple(_command(parser, text) for parser, text in zip(parsers, about, strict=True))


def _command(parser: argparse.ArgumentParser, summary: str) -> Command:
    about, exits, _ = _parted(parser.description or "")
    after, more_exits, examples = _parted(parser.epilog or "")
    below = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            below += [_command(each, texts[name]) for name, each in action.choices.items()]
    return Command(
        name=parser.prog,
        summary=summary,
        about=about,
        usage=parser.usage or "",
        after=after,
        examples=examples,
        exits=exits or more_exits,
        arguments=tuple(_arguments(parser)),
        below=tuple(below),
    )


def _parted(text: str) -> tuple[str, str, str]:
    """A text without its exit codes and examples, the exit codes, and the examples."""
    rest, exits, examples = [], "", ""
    for block in re.split(r"\n\s*\n", text.strip()):
        if _EXITS.match(block):
            exits = re.sub(r"^exit (codes|status):\s*", "", re.sub(r"\s*\n\s*", " ", block))
        elif re.match(r"examples?:\n", block):
            examples = block.partition("\n")[2]
        elif block:
            rest.append(block)
    return "\n\n".join(rest), exits, examples


def _arguments(parser: argparse.ArgumentParser) -> Iterator[Argument]:
    for group in parser._action_groups:
        for action in group._group_actions:
            hidden = action.help is argparse.SUPPRESS or isinstance(action, argparse._HelpAction)
            if not hidden and not isinstance(action, argparse._SubParsersAction):
                yield _argument(action, _HEADINGS.get(group.title or "", group.title or ""))


_HEADINGS = {"positional arguments": "arguments"}


def _argument(action: argparse.Action, group: str) -> Argument:
    meaning = str(action.help) % {**vars(action), "prog": ""}
    found = re.search(r"\s*\(default:? ([^()]*(?:\([^()]*\)[^()]*)*)\)", meaning)
    return Argument(
        names=tuple(action.option_strings),
        value=_value(action),
        choices=tuple(map(str, action.choices or ())),
        default=found[1] if found else _plain(action),
        meaning=meaning.replace(found[0], "") if found else meaning,
        repeats=isinstance(action, argparse._AppendAction),
        required=bool(action.required and action.option_strings),
        group=group,
        many=str(action.nargs) if action.nargs in ("?", "*", "+", "...") else "",
    )


def _plain(action: argparse.Action) -> str:
    """A default that the meaning names in passing: "recorded (default), or …"."""
    return str(action.default) if teaching.has_default(action) else ""


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.metavar:
        return str(action.metavar)
    if action.choices:
        return "|".join(map(str, action.choices))
    return action.dest.upper()


def _position(argument: Argument) -> str:
    shapes = {"?": "[{}]", "*": "[{}]...", "+": "{}...", "...": "{} [ARG]..."}
    return shapes.get(argument.many, "{}").format(argument.value)

"""Completion scripts for bash, zsh and fish, from the commands as records."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterable, Iterator

from making.commands import Argument, Command
from making.values import takes_file, words

_MADE = "# Completions of {name} for {kind}. Made by docs/reference/generate.py from the options themselves."


# -- bash ---------------------------------------------------------------------------------------------------------------------

_BASH = """\
{made}
__{name}_only() {{
    # Without files: a list of them would say that one is meant.
    compopt +o bashdefault +o default 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current")
}}
__{name}_or_file() {{
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current")
}}
_{name}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} verb= word i
    # bash takes --pace=think apart at the sign.
    if [[ $current == = ]]; then current=; elif [[ $previous == = ]]; then previous=${{COMP_WORDS[COMP_CWORD - 2]}}; fi
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        if [[ $word == -- ]]; then
            # What follows is another program and its arguments.
            ((i + 1 < COMP_CWORD)) || mapfile -t COMPREPLY < <(compgen -c -- "$current")
            return
        fi
        case "$verb $word" in
        {verbs})
            verb=${{verb:+$verb }}$word ;;
        esac
    done
    local words= options=
    case "$verb $previous" in
    {values}
    esac
    case "$verb" in
    {options}
    esac
    if [[ $current == -* ]]; then words=$options; fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o bashdefault -o default -F _{name} {name}
"""


def bash(program: Command) -> str:
    """The script for bash: one function, looked up by verb and by the word before."""
    verbs = [each for each in program.walk() if each is not program]
    steps = [f'"{_above(each)} {each.name.split()[-1]}"' for each in verbs]
    values = [line for each in program.walk() for line in _bash_values(each)]
    return _BASH.format(
        made=_MADE.format(name=program.name, kind="bash"),
        name=program.name,
        verbs=" | ".join(steps),
        values="\n    ".join(values),
        options="\n    ".join(_bash_options(each) for each in program.walk()),
    )


def _above(command: Command) -> str:
    return " ".join(command.name.split()[1:-1])


def _verb(command: Command) -> str:
    return " ".join(command.name.split()[1:])


def _bash_values(command: Command) -> Iterator[str]:
    for each in command.options:
        if each.value:
            patterns = " | ".join(f'"{_verb(command)} {name}"' for name in each.names)
            how = "or_file" if takes_file(each) else "only"
            then = f'__{command.name.split()[0]}_{how} "{" ".join(words(each))}"'
            yield f"{patterns}) {then}; return ;;"


def _bash_options(command: Command) -> str:
    names = [name for each in command.options for name in each.names]
    first = [each.name.split()[-1] for each in command.below] + [
        word for each in command.positions for word in words(each)
    ]
    return f'"{_verb(command)}") words="{" ".join(first)}" options="{" ".join([*names, "--help"])}" ;;'


# -- zsh ----------------------------------------------------------------------------------------------------------------------

_ZSH = """\
#compdef {name}
{made}
{functions}
if [ "$funcstack[1]" = "_{name}" ]; then _{name} "$@"; else compdef _{name} {name}; fi
"""
_ZSH_VERBS = """\
_{function}() {{
    local context state state_descr line curcontext="$curcontext"
    typeset -A opt_args
    _arguments -C {options} '1:verb:->verb' '*::argument:->arguments'
    case $state in
    verb)
        local -a verbs=({verbs})
        _describe -t verbs verb verbs ;;
    arguments)
        case $words[1] in
        {cases}
        esac ;;
    esac
}}"""


def zsh(program: Command) -> str:
    """The script for zsh: a function per verb."""
    below = [each for each in program.walk() if each is not program]
    functions = [_zsh_verbs(each) if each.below else _zsh_verb(each) for each in [*below, program]]
    made = _MADE.format(name=program.name, kind="zsh")
    return _ZSH.format(name=program.name, made=made, functions="\n".join(functions))


def _function(command: Command) -> str:
    return command.name.replace(" ", "_").replace("-", "_")


def _zsh_verbs(command: Command) -> str:
    verbs = [shlex.quote(f"{each.name.split()[-1]}:{each.summary}") for each in command.below]
    cases = [f"{each.name.split()[-1]}) _{_function(each)} ;;" for each in command.below]
    return _ZSH_VERBS.format(
        function=_function(command),
        options=" ".join(_zsh_options(command)),
        verbs=" ".join(verbs),
        cases="\n        ".join(cases),
    )


def _zsh_verb(command: Command) -> str:
    lines = [*_zsh_options(command), *_zsh_positions(command)]
    body = " \\\n        ".join(lines)
    return f"_{_function(command)}() {{\n    _arguments -s \\\n        {body}\n}}"


def _zsh_options(command: Command) -> Iterator[str]:
    yield "'(- *)'{-h,--help}'[show help]'"
    for each in command.options:
        said = f"[{_zsh_text(each.meaning)}]"
        value = f":{_zsh_text(each.value)}:{_zsh_action(each)}" if each.value else ""
        alone = "" if each.repeats else f"({' '.join(each.names)})"
        for name in each.names:
            joined = "=" if value and name.startswith("--") else ""
            yield shlex.quote(f"{'*' if each.repeats else alone}{name}{joined}{said}{value}")


def _zsh_positions(command: Command) -> Iterator[str]:
    for number, each in enumerate(command.positions, 1):
        if each.many == "...":
            yield from ("'(-)1:program: _command_names -e'", "'*::arguments: _normal'")
        else:
            place = "*" if each.many in {"*", "+"} else str(number)
            yield shlex.quote(f"{place}:{_zsh_text(each.value)}:{_zsh_action(each)}")


def _zsh_action(argument: Argument) -> str:
    chosen = words(argument)
    if takes_file(argument):
        return f"_alternative 'words\\:word\\:({_zsh_words(chosen)})' 'files\\:file\\:_files'" if chosen else "_files"
    return f"({_zsh_words(chosen)})" if chosen else " "


def _zsh_words(chosen: Iterable[str]) -> str:
    return " ".join(word.replace(":", "\\:") for word in chosen)


def _zsh_text(text: str) -> str:
    return re.sub(r"([\[\]:\\])", r"\\\1", text)


# -- fish ---------------------------------------------------------------------------------------------------------------------


def fish(program: Command) -> str:
    """The script for fish: a line per option, with the condition under which it is proposed."""
    lines = [_MADE.format(name=program.name, kind="fish"), f"complete -c {program.name} -f"]
    for command in program.walk():
        when = _fish_condition(command)
        lines += [
            _fish(program, when, f"-f -a {each.name.split()[-1]} -d {_fish_text(each.summary)}")
            for each in command.below
        ]
        lines += [_fish(program, when, _fish_option(each)) for each in command.options]
        lines += [_fish(program, when, line) for each in command.positions if (line := _fish_position(each))]
        lines.append(_fish(program, when, "-s h -l help -d 'show help'"))
    return "\n".join(lines) + "\n"


def _fish(program: Command, when: str, rest: str) -> str:
    return f"complete -c {program.name} -n {_fish_text(when)} {rest}"


def _fish_condition(command: Command) -> str:
    above = command.name.split()[1:]
    seen = [f"__fish_seen_subcommand_from {word}" for word in above]
    if command.below:
        names = " ".join(each.name.split()[-1] for each in command.below)
        seen.append(f"not __fish_seen_subcommand_from {names}")
    return "; and ".join(seen)


def _fish_option(argument: Argument) -> str:
    names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in argument.names]
    value = []
    if argument.value:
        value = ["-r -F"] if takes_file(argument) else ["-x"]
        if chosen := words(argument):
            value.append(f"-a {_fish_text(' '.join(chosen))}")
    return " ".join([*names, *value, f"-d {_fish_text(_first(argument.meaning))}"])


def _fish_position(argument: Argument) -> str:
    chosen = words(argument)
    files = "-F" if takes_file(argument) else ""
    if argument.many == "...":
        return "-F"
    return " ".join(part for part in (files, f"-a {_fish_text(' '.join(chosen))}" if chosen else "") if part)


def _first(text: str) -> str:
    """What a line beside the cursor has room for."""
    return textwrap.shorten(text.partition(";")[0], 60, placeholder=" …")


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

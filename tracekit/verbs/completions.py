"""`tracekit completions` and `harness completions`: what a shell needs to complete their verbs, options and values."""

from __future__ import annotations

import argparse
from pathlib import Path

from tracekit import console
from tracekit.errors import EXIT_PASS

# Made from the options by docs/reference/generate.py and installed where shells look, too.
SCRIPTS = {"bash": "bash/{}", "zsh": "zsh/_{}", "fish": "fish/{}.fish"}
_HOME = Path(__file__).parent.parent / "shell"
_DESCRIPTION = """\
Print what a shell needs to complete {program}'s verbs, options and values. It is the same at every call and starts nothing when a
key is pressed.
"""
_EPILOG = """\
examples:
  {program} completions bash > ~/.local/share/bash-completion/completions/{program}
  {program} completions zsh > ~/.zfunc/_{program}      with fpath+=~/.zfunc before compinit in ~/.zshrc
  {program} completions fish > ~/.config/fish/completions/{program}.fish

exit codes: 0 done, 2 there is no such shell
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description, example and argument; the program is the one that is asked."""
    program = parser.prog.split()[0]
    parser.description, parser.epilog = _DESCRIPTION.format(program=program), _EPILOG.format(program=program)
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="which shell")
    parser.set_defaults(program=program)


def run(args: argparse.Namespace) -> int:
    """Print the script; exit 0."""
    path = _HOME / SCRIPTS[args.shell].format(args.program)
    console.show(path.read_text(encoding="utf-8").rstrip("\n"))
    return EXIT_PASS

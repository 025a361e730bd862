"""Completion scripts in the real shells, and man pages through the real formatters."""

from __future__ import annotations

import importlib.metadata
import os
import pty
import shutil
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

import tracekit
from harness import cli as harness_cli
from tracekit import cli as tracekit_cli

SHELL = Path(tracekit.__file__).parent / "shell"
PROGRAMS = {"tracekit": tracekit_cli, "harness": harness_cli}
PAGES = sorted((SHELL / "man").glob("*.1"))
# What is typed, and what must be among the proposals.
TYPED = [
    (("tracekit", "re"), {"record", "replay"}),
    (("tracekit", "-q", "replay", "--pa"), {"--pace"}),
    (("tracekit", "replay", "--pace", ""), {"auto", "recorded", "think", "asap"}),
    (("tracekit", "dlio", ""), {"lint", "export"}),
    (("tracekit", "dlio", "lint", "--st"), {"--strict"}),
    (("tracekit", "run", "im"), {"imagenet-like"}),
    (("tracekit", "plot", "t.jsonl", "--kind", "l"), {"latency", "lanes"}),
    (("tracekit", "completions", ""), {"bash", "zsh", "fish"}),
    (("harness", "check", "x.jsonl", "--golden", "torch"), {"torch-like"}),
    (("harness", "check", "--explain", "size.m"), {"size.match", "size.mean", "size.median"}),
    (("harness", "check", "--preset", "m"), {"mlperf-storage"}),
    (("harness", "bl"), {"bless"}),
]


def need(program):
    """The path of a program; without it the test is skipped, and says so."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"there is no {program} on this machine")
    return path


@pytest.fixture(scope="module")
def bash():
    """What bash proposes for words, the last of which is being typed: a shell per question."""
    path = need("bash")
    sources = "\n".join(f"source '{SHELL}/bash/{program}'" for program in PROGRAMS)
    script = f'{sources}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "_$1"; printf "%s\\n" "${{COMPREPLY[@]}}"'

    def propose(*words):
        done = subprocess.run(
            [path, "--norc", "-c", script, "bash", *words], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return set(done.stdout.split())

    return propose


@pytest.mark.parametrize(("words", "wanted"), TYPED)
def test_bash_proposes(bash, words, wanted):
    """Verbs, options, and values that are words."""
    assert bash(*words) == wanted


def test_bash_takes_an_option_joined_to_its_value(bash):
    """Bash hands --pace=th over in three words."""
    assert bash("tracekit", "replay", "--pace", "=", "th") == {"think"}


def test_bash_leaves_files_to_itself(bash):
    """Where a file is meant nothing is proposed, and bash goes on with its own; so, too, after a program that is recorded."""
    assert bash("tracekit", "stats", "tra") == set()
    assert bash("tracekit", "record", "--", "cat", "--out") == set()
    assert "bash" in bash("tracekit", "record", "--", "bas")


@pytest.mark.parametrize("program", PROGRAMS)
def test_bash_knows_every_option_of_every_verb(bash, program):
    """What the parser takes is what is proposed."""
    whole = PROGRAMS[program].whole_parser()
    for verb, parser in next(action for action in whole._actions if action.dest == "verb").choices.items():
        if verb != "dlio":
            shown = [action for action in parser._actions if action.help != "==SUPPRESS=="]
            names = {name for action in shown for name in action.option_strings if name != "-h"}
            assert bash(program, verb, "-") == names, verb


@pytest.mark.parametrize(("words", "wanted"), TYPED)
def test_fish_proposes(tmp_path, words, wanted):
    """The same in fish, by its own `complete -C`."""
    sources = "; ".join(f"source '{SHELL}/fish/{program}.fish'" for program in PROGRAMS)
    command = f"{sources}; complete -C '{' '.join(words)}'"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [need("fish"), "--no-config", "-c", command], capture_output=True, text=True, check=True, env=environment
    )

    assert done.stderr == ""
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == wanted


@pytest.fixture
def zsh(tmp_path):
    """An interactive zsh with the scripts loaded: what a line becomes when Tab is pressed. It ends with the test."""
    path = need("zsh")
    (tmp_path / ".zshrc").write_text(
        "autoload -Uz compinit; compinit -u -D; zstyle ':completion:*' insert-unambiguous true\n"
        + "".join(f"source '{SHELL}/zsh/_{program}'\n" for program in PROGRAMS)
        + f"tab() {{ zle complete-word; print -r -- \"$BUFFER\" > '{tmp_path}/new'; mv '{tmp_path}/new' '{tmp_path}/line' }}\n"
        + "zle -N tab; bindkey '^T' tab\n"
        + f"zle-line-init() {{ : > '{tmp_path}/ready' }}; zle -N zle-line-init\n"
    )
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "TERM": "dumb"}
    process = subprocess.Popen([path, "-d", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True)  # fmt: skip
    os.close(theirs)
    os.set_blocking(ours, False)

    def wait_for(name):
        for _ in range(1200):
            if (tmp_path / name).exists():
                return (tmp_path / name).read_text()
            try:
                os.read(ours, 65536)  # so that the terminal never fills
            except BlockingIOError:
                time.sleep(0.05)
        raise AssertionError(f"zsh never came to {name}")

    def type_in(line):
        wait_for("ready")
        os.write(ours, line.encode() + b"\x14")
        return wait_for("line").rstrip("\n")

    yield type_in
    process.kill()
    process.wait()
    os.close(ours)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("tracekit distil --dl", "tracekit distil --dlio="),
        ("tracekit rec", "tracekit record "),
        ("tracekit replay --pace=th", "tracekit replay --pace=think "),
        ("tracekit dlio li", "tracekit dlio lint "),
        ("tracekit run imag", "tracekit run imagenet-like "),
        ("harness check t.jsonl --golden torch", "harness check t.jsonl --golden torch-like "),
    ],
)
def test_zsh_completes(zsh, typed, line):
    """The same in zsh, as if typed."""
    assert zsh(typed).rstrip() == line.rstrip()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("shell", "file"), [("bash", "bash/{}"), ("zsh", "zsh/_{}"), ("fish", "fish/{}.fish")])
def test_the_command_prints_the_script(capsys, program, shell, file):
    """`tracekit completions SHELL`, and the same of harness."""
    assert PROGRAMS[program].main(["completions", shell]) == 0
    assert capsys.readouterr().out == (SHELL / file.format(program)).read_text()


def test_a_shell_that_nobody_knows_is_refused(capsys):
    """Status 2, with the nearest that there is."""
    assert tracekit_cli.main(["completions", "bsh"]) == 2
    assert "did you mean 'bash'?" in capsys.readouterr().err


# -- man pages ------------------------------------------------------------------------------------------------------------------


def test_every_verb_has_a_page():
    """tracekit(1), harness(1), and one for each verb, also those below a verb."""
    names = {path.stem for path in PAGES}
    for program, cli in PROGRAMS.items():
        assert {program, *(f"{program}-{verb}" for verb in cli.VERBS)} <= names
    assert {"tracekit-dlio-lint", "tracekit-dlio-export"} <= names


def test_groff_has_nothing_to_say_and_shows_the_options():
    """All warnings on: none. What is shown names the option and what it does."""
    command = [need("groff"), "-ww", "-man", "-Tutf8"]
    done = subprocess.run([*command, *PAGES], capture_output=True, text=True, check=True)
    assert done.stderr == ""

    shown = subprocess.run([*command, "-P-cbou", SHELL / "man/tracekit-replay.1"], capture_output=True, text=True, check=True).stdout  # fmt: skip
    for words in ("--pace auto|recorded|think|asap", "EXIT STATUS", "EXAMPLES", "tracekit replay train.jsonl"):
        assert words in shown


def test_mandoc_finds_no_error():
    """The other formatter that systems have."""
    done = subprocess.run([need("mandoc"), "-Tlint", "-Werror", *PAGES], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


def test_an_installed_package_has_them_where_man_and_shells_look():
    """Below the prefix: share/man/man1 and each shell's own folder."""
    if not os.environ.get("TRACEKIT_TESTS_USE_INSTALLED"):
        pytest.skip("the package is not installed here")
    files = importlib.metadata.distribution("tracekit-io").files or []
    there = {Path(str(file.locate())).resolve() for file in files}
    share = Path(sysconfig.get_path("data")).resolve() / "share"
    for place in ("man/man1/tracekit-replay.1", "bash-completion/completions/tracekit", "zsh/site-functions/_harness", "fish/vendor_completions.d/harness.fish"):  # fmt: skip
        assert share / place in there
        assert (share / place).is_file()

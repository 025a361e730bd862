"""Building and installing: with a compiler, without one, and what a wheel holds."""

import os
import subprocess
import sys
import zipfile

import pytest


def build_wheel(repository, target, **environment):
    """Build a wheel from a copy of the committed and uncommitted sources; return its path."""
    sources = target / "sources"
    sources.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "-C", repository, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if name.startswith(("tracekit/", "harness/", "golden/", "pyproject", "README", "LICENSE")):
            copy = sources / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((repository / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(sources)],
        check=True, capture_output=True, env={**os.environ, **environment},
    )  # fmt: skip
    return next(target.glob("*.whl"))


def python_with(wheel, target):
    """A Python of its own with the wheel installed and this environment's packages below it."""
    environment = target / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    packages = next(environment.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    below = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "below.pth").write_text("\n".join(below) + "\n")
    return environment / "bin" / "python"


@pytest.fixture(scope="module")
def bare_wheel(repository, tmp_path_factory):
    """A wheel built where every compiler call fails."""
    return build_wheel(repository, tmp_path_factory.mktemp("bare"), CC="/bin/false", CXX="/bin/false")


def test_without_a_compiler_the_wheel_has_no_core(bare_wheel):
    """The install succeeds and simply lacks the extension."""
    with zipfile.ZipFile(bare_wheel) as archive:
        names = archive.namelist()
    assert "tracekit/trace.py" in names
    assert not any(name.endswith(".so") for name in names)


def test_without_the_core_the_doctor_says_so(bare_wheel, tmp_path):
    """The fallback is said, with the reason and the way out."""
    python = python_with(bare_wheel, tmp_path)
    done = subprocess.run([python, "-m", "tracekit", "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("native core"))
    assert line.split()[2] == "limited"
    assert "compiler" in done.stdout


def test_the_wheel_is_complete(repository, tmp_path):
    """With a compiler the wheel holds the core, its typed door, and the golden profiles as package data."""
    wheel = build_wheel(repository, tmp_path / "full")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"tracekit/py.typed", "tracekit/_core.pyi"} <= names
    assert {
        "golden/torch-like/profile.yaml",
        "golden/torch-like/program.py",
        "golden/torch-like/envelope.json",
    } <= names
    assert any(name.startswith("tracekit/_core.") and name.endswith(".so") for name in names)
    assert not any(name.startswith("tests") for name in names)


def test_the_wheel_serves_every_python_from_3_10(repository, tmp_path):
    """The wheel's tag is the stable ABI of 3.10."""
    assert "-cp310-abi3-" in build_wheel(repository, tmp_path / "tagged").name


def test_make_looks_for_the_core_in_what_is_installed(repository):
    """What `make` imports to see whether a wheel holds the core is not the source folder it stands in."""
    lines = [line for line in (repository / "Makefile").read_text().splitlines() if "import tracekit._core" in line]

    assert lines
    assert all("python -I -c" in line for line in lines)

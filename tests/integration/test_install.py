"""Building and installing: with a compiler, without one, and what a wheel holds."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest


def build_wheel(repository, target, *, wheel=True, **environment):
    """Build a wheel from a copy of the committed and uncommitted sources, in target/sources; return its path."""
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
    if not wheel:
        return None
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


@pytest.fixture(scope="module")
def full_wheel(repository, tmp_path_factory):
    """A wheel built with a compiler."""
    return build_wheel(repository, tmp_path_factory.mktemp("full"))


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


def test_the_wheel_is_complete(full_wheel):
    """With a compiler the wheel holds the core, its typed door, and the golden profiles as package data."""
    with zipfile.ZipFile(full_wheel) as archive:
        names = set(archive.namelist())
    assert {"tracekit/py.typed", "tracekit/_core.pyi"} <= names
    assert {
        "golden/torch-like/profile.yaml",
        "golden/torch-like/program.py",
        "golden/torch-like/envelope.json",
    } <= names
    assert any(name.startswith("tracekit/_core.") and name.endswith(".so") for name in names)
    assert "_tracekit_record.pth" in names
    assert not any(name.startswith("tests") for name in names)


def test_the_source_distribution_builds_the_same_wheel(repository, tmp_path):
    """What is needed to build, the .pth file's part included, is in the source distribution."""
    build_wheel(repository, tmp_path / "sources", wheel=False)
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--skip-dependency-check",
        "--sdist",
        "-o",
        str(tmp_path),
    ]
    subprocess.run([*command, str(tmp_path / "sources" / "sources")], check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "tracekit/_native/spool.h", "harness/report/page.css"} <= names
    assert not any(name.endswith((".so", ".o", ".pyc")) for name in names)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    quick = {**os.environ, "CC": "/bin/false"}
    subprocess.run([*command, str(next(tmp_path.glob("*.tar.gz")))], check=True, capture_output=True, env=quick)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        assert "_tracekit_record.pth" in archive.namelist()


def test_an_extra_is_added_by_its_name_without_an_index(full_wheel, tmp_path):
    """Where the package is installed, pip takes it for `tracekit-io[plots]` and looks for none elsewhere; a wheel takes extras too."""
    python = python_with(full_wheel, tmp_path)
    for wanted in ("tracekit-io[plots]", f"{full_wheel}[torch,plots]"):
        done = subprocess.run(
            [python, "-m", "pip", "install", "--no-index", "--no-deps", "--dry-run", wanted], capture_output=True, text=True
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "does not provide the extra" not in done.stderr


def test_uninstalling_takes_the_way_in_away(full_wheel, tmp_path):
    """A pip install puts our .pth file where `site` looks, and pip uninstall leaves nothing of it."""
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", str(full_wheel)], check=True, capture_output=True)
    assert len(list(environment.glob("lib/python*/site-packages/_tracekit_record.pth"))) == 1
    subprocess.run([*pip, "uninstall", "-q", "-y", "tracekit-io"], check=True, capture_output=True)
    assert not list(environment.rglob("*tracekit*"))


def test_the_wheel_serves_every_python_from_3_10(full_wheel):
    """The wheel's tag is the stable ABI of 3.10."""
    assert "-cp310-abi3-" in full_wheel.name


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm, of the binutils, is not installed")
def test_the_extensions_use_the_stable_abi_only(full_wheel, tmp_path):
    """Every symbol of Python's that the core wants from the interpreter is in the stable ABI, since 3.10 or before."""
    from abi3info import DATAS, FUNCTIONS

    known = {symbol.name: entry.added for symbol, entry in {**FUNCTIONS, **DATAS}.items()}
    with zipfile.ZipFile(full_wheel) as archive:
        built = [archive.extract(name, tmp_path) for name in archive.namelist() if name.endswith(".so")]
    assert sorted(os.path.basename(path).partition(".")[0] for path in built) == ["_core", "_preload"]
    for path in built:
        listed = subprocess.run(
            ["nm", "-D", "--undefined-only", path], capture_output=True, text=True, check=True
        ).stdout
        wanted = [name for name in listed.split() if name.startswith(("Py", "_Py"))]
        assert bool(wanted) is ("_core" in path)
        late = [name for name in wanted if name not in known or (known[name].major, known[name].minor) > (3, 10)]
        assert late == []


def test_make_looks_for_the_core_in_what_is_installed(repository):
    """What `make` imports to see whether a wheel holds the core is not the source folder it stands in."""
    lines = [line for line in (repository / "Makefile").read_text().splitlines() if "import tracekit._core" in line]

    assert lines
    assert all("python -I -c" in line for line in lines)

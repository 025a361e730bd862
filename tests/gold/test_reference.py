"""The generated reference pages are what the code says, and name all of it."""

from __future__ import annotations

import ast
import importlib
import re

import pytest
import yaml

from harness import golden
from harness.contract import Contract
from harness.criteria import CRITERIA, MATRIX_CRITERIA, advice
from tracekit import errors
from tracekit.replay import verdict
from tracekit.storage import failures
from tracekit.workload.distil import found
from tracekit.workload.dlio import findings

PAGES = [
    "reference/tracekit.md",
    "reference/harness.md",
    "reference/criteria.md",
    "reference/errors.md",
    "reference/outputs.md",
    "reference/golden-format.md",
    "reference/python.md",
]


@pytest.fixture(scope="module")
def making(generator):
    """The modules that make the pages, by name."""
    return lambda name: importlib.import_module(f"making.{name}")


@pytest.fixture(scope="module")
def nodes(repository):
    """What stands in the modules of both packages, by package: constants, assignments and calls."""
    wanted = (ast.Constant, ast.Assign, ast.AnnAssign, ast.Call)
    found = {}
    for package in ("tracekit", "harness"):
        trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (repository / package).rglob("*.py")]
        found[package] = [node for tree in trees for node in ast.walk(tree) if isinstance(node, wanted)]
    return found


def test_every_page_is_listed(generator):
    """No page is made that this file does not look at."""
    assert set(generator.PAGES) == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_the_published_page_is_the_generated_one(repository, generator, name):
    """A new option, criterion, slug or docstring fails here until the reference is made again."""
    assert (repository / "docs" / name).read_text() == generator.text_of(name), "run: python docs/reference/generate.py"


def test_the_committed_completions_and_man_pages_are_the_generated_ones(repository, generator):
    """Each file, and no file beside them."""
    shell = repository / "tracekit/shell"
    made = generator.installed()
    assert {str(path.relative_to(shell)) for path in shell.rglob("*") if path.is_file()} == set(made)
    for name, text in made.items():
        assert (shell / name).read_text() == text, f"{name}: run: python docs/reference/generate.py"


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_reached_from_the_index(repository, name):
    """A reader of the documentation finds it in the table of contents."""
    assert name.removesuffix(".md") in (repository / "docs/index.md").read_text().split()


# -- commands -----------------------------------------------------------------------------------------------------------------


def test_every_verb_has_examples_exit_codes_and_a_meaning_for_each_option(making):
    """Nobody is left with a bare name."""
    for program in making("commands").programs():
        for verb in program.walk():
            assert verb.about, verb.name
            assert verb.examples, verb.name
            assert verb.below or verb.exits, verb.name
            assert all(each.meaning for each in verb.arguments), verb.name


def test_every_value_that_an_option_takes_is_explained(making):
    """The word that stands for a value is in the page's table of values, or lists the words there are."""
    values = making("command_page").VALUES
    for program in making("commands").programs():
        for verb in program.walk():
            for each in verb.arguments:
                assert not each.value or each.words or each.value in values, (verb.name, each.spelled)


# -- criteria -----------------------------------------------------------------------------------------------------------------


def test_the_page_has_every_criterion_with_what_to_do(repository):
    """Each criterion of each mode has an entry, and one that fails says where to look."""
    page = (repository / "docs/reference/criteria.md").read_text()
    for mode, table in CRITERIA.items():
        for name, criterion in table.items():
            assert f"### `{name}`, {mode}\n" in page
            assert len(advice(criterion)) > 20, name


def test_no_advice_is_left_of_a_criterion_that_is_gone():
    """Advice is for criteria that exist."""
    known = {name for table in CRITERIA.values() for name in table}
    assert set(importlib.import_module("harness.criteria.advice").ADVICE) == known


# -- names of what can be wrong -----------------------------------------------------------------------------------------------


def slugs(nodes):
    """Every slug in the sources: of a class, or handed to an error (by name, or as the first word of a `_sentence`)."""
    for package in nodes.values():
        for node in package:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(isinstance(each, ast.Name) and each.id == "slug" for each in targets):
                    yield node.value.value
            if isinstance(node, ast.Call):
                given = [each.value for each in node.keywords if each.arg == "slug"]
                if isinstance(node.func, ast.Name) and node.func.id == "_sentence":
                    given.append(node.args[0])
                yield from (each.value for each in given if isinstance(each, ast.Constant))


def test_every_slug_has_an_entry_and_every_entry_a_slug(nodes, making):
    """The page of errors and the code name the same."""
    assert set(slugs(nodes)) == set(making("problems").ERRORS)


def test_every_error_class_has_a_slug_of_its_own():
    """What an exception is called is never that of its parent by accident."""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert len({each.slug for each in classes}) == len(classes)


def test_a_slug_of_one_error_is_that_error_s_alone():
    """An error may carry its own slug; its class keeps the other."""
    assert errors.InputError("a", "b", slug="data-missing").slug == "data-missing"
    assert errors.InputError("a", "b").slug == "bad-input"


def test_findings_about_a_trace_are_those_of_the_code(nodes, making):
    """Every `valid.…` in the harness's sources has an entry, and no other."""
    words = [node.value for node in nodes["harness"] if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    named = {word for word in words if re.fullmatch(r"valid\.[a-z-]+", word)}
    assert named == set(making("problems").VALIDITY)


def test_the_criteria_of_a_matrix_are_those_of_the_code(repository, making):
    """Every name that `harness/divergence.py` gives a finding has an entry, and no other."""
    text = (repository / "harness/divergence.py").read_text()
    named = set(re.findall(r'f?"((?:intent|start|slower|direct|ahead)\.(?:[a-z]+|\{name\}))"', text)) - {
        "slower.{name}"
    }
    assert {name.replace("{name}", "CELL") for name in named} == set(MATRIX_CRITERIA)


def test_a_warning_s_words_stand_in_the_code(repository, making):
    """Whoever looks for the words of a replay's warning finds the sentence that has them."""
    sources = [path.read_text() for path in (repository / "tracekit/replay").glob("*.py")]
    texts = [re.sub(r'"\n\s*f?"', "", source) for source in sources]
    for words in making("problems").WARNINGS:
        assert any(words in text for text in texts), words


def test_the_words_of_runs_requests_and_values_are_those_of_the_code(making):
    """Verdicts of a replay, kinds of failed requests, how sure a value is, levels of a lint: nothing more, nothing less."""
    problems = making("problems")
    kinds = {*failures._NAMED, *failures._BY_NUMBER.values(), failures.kind_of(500)}
    assert set(problems.RUNS) == set(verdict._SEVERITY)
    assert set(problems.REQUESTS) == kinds
    assert set(problems.CONFIDENCES) == set(found.LEVELS)
    assert set(problems.LEVELS) == {findings.ERROR, findings.WARNING, findings.NOTE}


def test_every_entry_has_a_cause_and_a_way_out(making):
    """Neither is empty, and each ends as a sentence does."""
    problems = making("problems")
    tables = (
        problems.ERRORS,
        problems.VALIDITY,
        MATRIX_CRITERIA,
        problems.RUNS,
        problems.WARNINGS,
        problems.REQUESTS,
        problems.CONFIDENCES,
        problems.LEVELS,
    )
    for table in tables:
        for name, texts in table.items():
            assert all(text.endswith(".") for text in texts[-2:]), name


# -- goldens ------------------------------------------------------------------------------------------------------------------


def test_the_example_profile_is_one(repository):
    """The YAML on the page is read as a profile's: contract, declarations and tolerances."""
    page = (repository / "docs/reference/golden-format.md").read_text()
    profile = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])

    assert set(profile) <= set(golden.KEYS)
    assert Contract.of(profile, "page").requires == ("steps", "samples")
    assert golden.declared(profile, "regime", "page") == "mixed"
    assert golden.tolerances(profile, "page") == {"size.mean": 0.1}

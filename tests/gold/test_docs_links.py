"""No page points to a page, a file or a heading that is not there."""

import re

import pytest
import yaml

import tracekit

_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\((?P<to>[^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
FURTHER = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def pages(repository):
    """Every page of the documentation, and what stands in front of it."""
    found = [page for page in repository.glob("docs/**/*.md") if "_build" not in page.parts]
    return found + [repository / name for name in FURTHER if (repository / name).exists()]


def anchors(text):
    """The anchors of a page: those it names itself, and those that GitHub and MyST make of its headings."""
    named = re.findall(r"<a id=\"([\w-]+)\">", text)
    headings = re.findall(r"^#{1,6} (.+)$", _FENCED.sub("", text), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one).lower().replace("`", "") for one in headings]
    made = {re.sub(r"[^\w\- ]", "", one).strip().replace(" ", "-") for one in plain}
    return made | set(named)


def dead(page, text):
    """The links of a page that lead nowhere, in its own words."""
    prose = _CODE.sub("``", _FENCED.sub("", text))
    for link in _LINK.finditer(prose):
        path, _, heading = link["to"].partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{link['to']}: there is no such file"
        elif heading and heading not in anchors(target.read_text(encoding="utf-8")):
            yield f"{link['to']}: there is no such heading"


def test_no_link_is_dead(repository):
    """Links between pages, to files of the repository and to headings all lead somewhere."""
    found = {
        str(page.relative_to(repository)): list(dead(page, page.read_text(encoding="utf-8")))
        for page in pages(repository)
    }
    assert {page: links for page, links in found.items() if links} == {}


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("[a](other.md)", []),
        ("[a](other.md#what-it-cannot-see) and [b](#here)\n\n## Here\n", []),
        ("[a](missing.md)", ["missing.md: there is no such file"]),
        ("[a](other.md#nowhere)", ["other.md#nowhere: there is no such heading"]),
        ("`[a](missing.md)`\n\n```text\n[a](missing.md)\n```\n", []),
        ("[a](https://example.org/x#y)", []),
    ],
)
def test_dead_links_are_found(tmp_path, text, links):
    """A missing file and a missing heading are named; code and other hosts are left alone."""
    (tmp_path / "other.md").write_text("# Other\n\n## What it *cannot* see\n")
    page = tmp_path / "page.md"
    page.write_text(text)
    assert list(dead(page, text)) == links


def test_pages_read_well_where_nobody_renders_them_for_us(repository):
    """On GitHub a link without words is not seen, and a target of MyST's is text: no page has one."""
    for page in pages(repository):
        prose = _CODE.sub("``", _FENCED.sub("", page.read_text(encoding="utf-8")))
        assert not re.findall(r"\[\]\(|^\([\w-]+\)=$|\{#[\w-]+\}|\{(?:doc|ref)\}", prose, re.MULTILINE), page


def test_every_page_is_on_the_map(repository):
    """The index leads to each page of the documentation."""
    listed = set(re.findall(r"^([\w/.-]+)$", (repository / "docs/index.md").read_text(), re.MULTILINE))
    docs = repository / "docs"
    there = {str(page.relative_to(docs).with_suffix("")) for page in pages(repository) if docs in page.parents}
    assert there - listed == {"index"}


def test_figures_beside_other_tools_were_measured(repository):
    """Each figure of the README's table of tools stands in the page on performance, which has its command."""
    section = (repository / "README.md").read_text().partition("## Beside other tools")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "fio" not in line]
    cells = [cell for row in rows for cell in row.strip("| ").split("|")[1:]]
    figures = {figure for cell in cells for figure in re.findall(r"\d[\d,.]*\d|\d", cell)}
    measured = (repository / "docs/performance.md").read_text()
    assert len(figures) > 15
    assert {one for one in figures if not re.search(rf"(?<![\d.,]){re.escape(one)}(?![\d.,]*\d)", measured)} == set()


def test_the_citation_names_this_version(repository):
    """CITATION.cff is what readers of the format ask for (1.2.0: message, title, authors), and of the version that is here."""
    cited = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert cited["message"]
    assert [set(one) <= {"name", "family-names", "given-names"} for one in cited["authors"]] == [True]
    assert cited["version"] == tracekit.__version__
    assert cited["license"] == "Apache-2.0"
    assert f"## {tracekit.__version__}" in (repository / "CHANGELOG.md").read_text()

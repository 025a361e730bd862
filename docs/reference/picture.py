"""Draw the picture of a report that the pages show: `python docs/reference/picture.py`. It needs Chromium, playwright and Pillow.

A small job is made up, its replay shuffled, and the report on it opened: the same picture wherever the same fonts are.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from harness import mutations
from harness.paired import judge
from harness.report import html
from harness.report.timeline import Timeline
from tracekit.testing import training_trace

PICTURE = Path(__file__).parents[1] / "images" / "report.png"
MS = 1_000_000
WIDTH = 1060
# What is left out so that answer and pictures are on one screen.
SHORTER = """
for (const section of document.querySelectorAll('section')) {
  section.hidden = section.querySelector('h2').textContent !== 'Over time';
}
document.querySelectorAll('h2, nav, footer').forEach((one) => { one.hidden = true; });
document.querySelectorAll('.figures').forEach((all) => {
  for (const figure of all.children) {
    figure.hidden = !/^(Where the ops went|The first ops)/.test(figure.querySelector('h3').textContent);
  }
});
"""


def main() -> None:
    """Make the report and photograph it."""
    trace = training_trace(files=96, batch=16, compute_ns=50 * MS, chunk_bytes=16_384, read_ns=400_000, wait_ns=4 * MS)
    bad = mutations.shuffled(trace)
    verdict = judge(trace, bad, names=("train.jsonl", "shuffled.jsonl"))
    lines = [Timeline.of("train.jsonl", [trace]), Timeline.of("shuffled.jsonl", [bad])]
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        path = Path(place) / "report.html"
        path.write_text(html.render(verdict, lines, of_golden=True), encoding="utf-8")
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = chromium.new_page(viewport={"width": WIDTH, "height": 700})
        page.goto(path.as_uri())
        _photograph(page)
        chromium.close()
    sys.stdout.write(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes\n")


def _photograph(page: Page) -> None:
    page.evaluate(SHORTER)
    PICTURE.parent.mkdir(exist_ok=True)
    taken = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    # A page has few colours: a palette makes the file a third as large.
    taken.convert("RGB").quantize(64).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()

"""Make the documentation's picture of the report: python -m tests.comparison.report.screenshot [RECORDS [PNG]].

The default is the records of Wikipedia in studies/.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from tests.comparison.report.browser import chromium
from vastmax.comparison.report import RunRecord, read_records, write_report

ROOT = Path(__file__).parents[3]
RECORDS = ROOT / "studies" / "wikipedia-large-vocabulary" / "records.jsonl"
PICTURE = ROOT / "docs" / "images" / "report.png"


def screenshot(records: list[RunRecord], picture: Path, *, last: str = "#tradeoff") -> None:
    """Write a screenshot of the report in a wide window, light theme, down to one figure, with a reduced palette."""
    with TemporaryDirectory() as folder, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page.goto(write_report(records, Path(folder) / "report.html").as_uri())
        page.wait_for_selector("main[aria-busy=false]")
        page.locator("#theme").evaluate("each => each.blur()")
        bottom = page.locator(last).evaluate("each => each.closest('section').getBoundingClientRect().bottom")
        raw = Path(folder) / "raw.png"
        page.screenshot(path=raw, full_page=True, clip={"x": 0, "y": 0, "width": 1280, "height": bottom + 16})
        Image.open(raw).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            picture, optimize=True
        )


if __name__ == "__main__":
    given = [*map(Path, sys.argv[1:])]
    screenshot(read_records(given[0] if given else RECORDS), given[1] if given[1:] else PICTURE)

"""MkDocs hooks: insert files of the root into their pages, and drawings into the pages of output layers."""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from mkdocs_drawings import touched  # noqa: E402  # beside this file, which mkdocs loads by path

_SEE = re.compile(r"See \[([A-Z]+\.md)\]\(\.\./\1\)\.\n")
_TOUCHED = re.compile(r"^<!-- touched: ([a-z-]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the Markdown of a page.

    A page that consists of "See [FILE](../FILE)." shows that file of the root. ``<!-- touched: LAYER -->``, a comment
    that Git hosts hide, becomes the drawing of the layer.
    """
    elsewhere = _SEE.fullmatch(markdown)
    if elsewhere:  # its links are relative to the root
        return (ROOT / elsewhere[1]).read_text(encoding="utf-8").replace("](docs/", "](")
    return _TOUCHED.sub(lambda found: touched(found[1]), markdown)

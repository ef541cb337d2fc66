"""What mkdocs puts into pages: files of the root that a page stands for, and drawings of what a layer touches."""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from mkdocs_drawings import touched  # noqa: E402  # lies beside this file, which mkdocs loads by its path

_SEE = re.compile(r"See \[([A-Z]+\.md)\]\(\.\./\1\)\.\n")
_TOUCHED = re.compile(r"^<!-- touched: ([a-z-]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the text that a page shows.

    A page that says "See [FILE](../FILE)." and no more shows that file of the root. ``<!-- touched: LAYER -->``, which
    a forge does not show, becomes the layer's drawing.
    """
    elsewhere = _SEE.fullmatch(markdown)
    if elsewhere:  # it links pages as seen from the root
        return (ROOT / elsewhere[1]).read_text(encoding="utf-8").replace("](docs/", "](")
    return _TOUCHED.sub(lambda found: touched(found[1]), markdown)

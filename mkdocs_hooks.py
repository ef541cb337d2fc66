"""What mkdocs does to a page that says "See [FILE](../FILE)." and no more: it shows that file of the root."""

import re
from pathlib import Path
from typing import Any

_SEE = re.compile(r"See \[([A-Z]+\.md)\]\(\.\./\1\)\.\n")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the text that a page shows."""
    elsewhere = _SEE.fullmatch(markdown)
    return (Path(__file__).parent / elsewhere[1]).read_text(encoding="utf-8") if elsewhere else markdown

"""Check pages, docstrings, comments and messages for phrases to avoid, and suggest the terms that people search for.

    python -m tests.prose

Prints every fault and exits with 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULES = {
    r"no numbers? any more": "NaN",
    r"limit of the gradient's norm": "gradient clipping",
    r"draws that repeat|where draws repeat": "reproducible, or with replacement",
    r"the same again": "again, or reproducible",
    r"half as fast again": "1.5× as fast",
    r"no matter of belief": "measure",
    r"a nothing|to a (word|row) that is none": "missing",
    r"stands? above (the|these|those)": "overrides, or precedes",
    r"is told (?:what|of|when|how)\b": "receives, or is reported",
    r"\bof others\b": "third-party",
    r"\bmuch less than that\b": "smaller",
}


def pages() -> list[Path]:
    """Return the hand-written pages for users."""
    docs = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name != "cli.md"]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *docs]


def sources() -> list[Path]:
    """The code whose docstrings, comments and messages keep to the terms too."""
    found = (path for folder in ("src", "benchmarks", "examples", "studies") for path in (ROOT / folder).rglob("*"))
    return sorted(path for path in found if path.suffix in (".py", ".cpp", ".hpp", ".inl"))


def without_code(text: str) -> str:
    """Return a page's prose: code blocks blanked line by line, inline code and link targets removed."""
    text = re.sub(r"^ *```.*?^ *```", lambda found: re.sub(r"[^\n]", "", found[0]), text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]+`|\]\([^)]*\)", "", text)


def words_of(page: Path) -> int:
    """Count the hand-written words of a page, code and tables included; a word has a letter or a digit.

    Tables generated from records and docstrings inserted by the site do not count.
    """
    text = re.sub(r"<!-- records: .*?<!-- end of records -->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return len(re.findall(r"\S*\w\S*", re.sub(r"^::: .*$", "", text, flags=re.MULTILINE)))


def faults(page: Path) -> Iterator[str]:
    """Each fault of a page with its line, and the term to use."""
    text = page.read_text(encoding="utf-8")
    for number, line in enumerate((without_code(text) if page.suffix == ".md" else text).split("\n"), 1):
        for rule, instead in RULES.items():
            for found in re.finditer(rule, line, re.IGNORECASE):
                yield f"{page.relative_to(ROOT)}:{number}: {found[0]!r}: say {instead}"


def main() -> int:
    """Print the faults of all pages."""
    found = [fault for page in [*pages(), *sources()] for fault in faults(page)]
    print("\n".join(found) or f"{sum(map(words_of, pages())):,} words, no fault")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

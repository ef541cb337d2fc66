"""Write the measured tables of README.md and docs/results.md from the committed records.

    python studies/tables.py            # rewrite the tables between the marks
    python studies/tables.py --check    # exit with 1 if a table differs from the records

A table is between ``<!-- records: STUDY TABLE -->`` and ``<!-- end of records -->``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from vastmax.comparison.report import RunRecord, SummaryRow, read_records, summary_rows
from vastmax.layers import LAYERS

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "studies"
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
PUBLISHED = {  # test perplexities of the closest published method, and of its full softmax
    "ptb-lstm": {  # Chen, Grangier, Auli 2015, https://arxiv.org/abs/1512.04906
        "full": 123.8,
        "differentiated": 121.1,
        "infrequent-normalized": 122.1,
        "target-sampling": 124.2,
        "class-based": 138.2,  # a hierarchical softmax over clusters
        "nce": 143.1,
    },
    "brown-feed-forward": {  # Morin, Bengio 2005, http://proceedings.mlr.press/r5/morin05a.html
        "full": 195.3,
        "hierarchical-wordnet": 220.7,
    },
    "ptb-trees": {  # Mnih, Hinton 2008, https://papers.nips.cc/paper/3583, AP News
        "full": 117.0,
        "random": 151.2,
        "balanced": 131.3,
        "adaptive": 127.0,
        "adaptive(0.4)x4": 112.1,
    },
}
UNITS = {  # of remarks
    "perplexity": "{:,.2f}",
    "share": "{:.1%}",
    "µs a word": "{:.1f} µs a word",
    "billion operations a second": "{:.0f} billion operations a second",
}
MARK = re.compile(r"(<!-- records: (\S+) (\S+) -->\n)(.*?)(<!-- end of records -->)", re.DOTALL)


def methods(study: str, rows: Sequence[SummaryRow], before: str) -> list[str]:
    """Return the table of a study's runs: perplexity, cost, and training speed relative to the full softmax."""
    full = next((row for row in rows if row.layer == "full"), None)
    known = PUBLISHED.get(study, {})
    columns = ["method", "kind", "test perplexity", "against full", "training", "words/s", "times full", "test words/s"]
    columns += ["published", "budget"] if known else ["budget"]
    lines = [f"| {' | '.join(columns)} |", f"|---|---|{'---:|' * (len(columns) - 3)}---|"]
    for row in rows:
        if row.test is None or row.training_speed is None or row.training_seconds is None:
            why = f"failed: {row.error}" if row.status == "failed" else "∞"
            lines.append(f"| {row.label} | {row.kind or ''} | {why} {'| ' * (len(columns) - 3)}{row.budget} |")
            continue
        against, times = "", ""
        if full is not None and full.test is not None and full.training_speed is not None:
            against = f"{row.test.mean / full.test.mean - 1:+.1%}"
            times = f"{row.training_speed.mean / full.training_speed.mean:.1f}"
        tested = f"{row.evaluation_speed.mean:,.0f}" if row.evaluation_speed else ""
        cells = [
            row.label,
            row.kind or "",
            f"{row.test.mean:,.1f}",
            against,
            f"{row.training_seconds.mean / 60:.1f} min",
            f"{row.training_speed.mean:,.0f}",
            times,
            tested,
        ]
        if known:
            published = known.get(row.label)
            cells.append("" if published is None else f"{published:,.1f} ({published / known['full'] - 1:+.1%})")
        cells.append(row.budget)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def layers(study: str, rows: Sequence[SummaryRow], before: str) -> list[str]:
    """Return README's table of layers, with its present names and references, and the best run of each layer."""
    kept = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in before.splitlines()]
    classes = {f"`{cls.__name__}`": name for name, cls in LAYERS.items()}
    full = next((row for row in rows if row.layer == "full" and row.training_speed), None)
    lines = [
        "| method | class | perplexity | training speed | reference |",
        "|---|---|---:|---:|---|",
    ]
    for method, cls, *_, reference in kept[2:]:
        name = next(layer for named, layer in classes.items() if named in cls)
        runs = [row for row in rows if row.layer == name and row.test is not None]
        perplexity = speed = "–"
        if runs and full is not None and full.training_speed is not None:
            best = min(runs, key=lambda row: row.test.mean if row.test else 0)
            assert best.test is not None and best.training_speed is not None
            perplexity = f"{best.test.mean:,.1f}" + ("" if best.budget == full.budget else f" ({best.budget})")
            speed = f"{best.training_speed.mean / full.training_speed.mean:.1f}×"
        lines.append(f"| {' | '.join([method, cls, perplexity, speed, reference])} |")
    return lines


def remarks(study: str, rows: Sequence[SummaryRow], before: str) -> list[str]:
    """Return the table of the figures measured by remarks.py."""
    measured = json.loads((STUDIES / study / "remarks.json").read_text(encoding="utf-8"))["remarks"]
    lines = [f"| {each['what']} | {UNITS[each['unit']].format(each['figure'])} |" for each in measured]
    return ["| measured besides | |", "|---|---:|", *lines]


TABLES: dict[str, Callable[[str, Sequence[SummaryRow], str], list[str]]] = {
    "methods": methods,
    "layers": layers,
    "remarks": remarks,
}


def records_of(study: str) -> list[RunRecord]:
    """Return the committed records of a study; none if it has not been run."""
    path = STUDIES / study / "records.jsonl"
    return read_records(path) if path.exists() else []


def rewritten(text: str) -> str:
    """Return the page with every table regenerated."""

    def table(found: re.Match[str]) -> str:
        rows = summary_rows(records_of(found[2]))
        return found[1] + "\n".join(TABLES[found[3]](found[2], rows, found[4])) + "\n" + found[5]

    return MARK.sub(table, text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite or check the pages; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; say what is not in step")
    check = parser.parse_args(arguments).check
    behind = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := rewritten(text)) == text:
            continue
        behind += 1
        if check:
            print(f"{page.relative_to(ROOT)} is not in step with the records: run python studies/tables.py")
        else:
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(ROOT)} rewritten")
    return int(check and behind > 0)


if __name__ == "__main__":
    sys.exit(main())

"""A comparison as one self-contained HTML page: no network, no other files, no new training."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

from vastmax.comparison.report.figures import comparison_figures
from vastmax.comparison.report.formats import memory, number, whole
from vastmax.comparison.report.records import RunRecord
from vastmax.comparison.report.summary import MARGIN, SummaryRow, latest, reference_label, summary_rows
from vastmax.comparison.report.tables import extra_tables, method_table, pairs_table
from vastmax.comparison.report.traces import method_styles
from vastmax.comparison.report.verdict import Pair, judge, named, verdict_sentences
from vastmax.errors import InputError
from vastmax.files import replacing

__all__ = ["findings", "require_report", "write_report"]

_ASSETS = Path(__file__).parent / "assets"
_STYLES = ("base.css", "report.css")
_SCRIPTS = ("theme.js", "figures.js", "names.js", "controls.js")


def require_report() -> None:
    """Raise InputError if a package needed for the report is missing, before hours of training."""
    for name in ("jinja2", "markupsafe", "plotly"):
        if find_spec(name) is None:
            raise InputError(f"the report needs {name}: pip install 'vastmax[report]'.")


def write_report(records: Iterable[RunRecord], path: str | os.PathLike[str]) -> Path:
    """Write the HTML page of a comparison atomically, and return its path.

    The page embeds the data of its figures and plotly (4.8 of its 5 MB) and loads nothing, so it can be mailed and
    still opens years later. Its Content-Security-Policy allows only its own scripts, by hash.

    Args:
        records: records of one comparison, as from :func:`~vastmax.comparison.report.read_records`; the last of
            several with the same label and seed is used.
        path: the file to write, such as ``report.html``.

    Raises:
        InputError: if there is no record, jinja2, markupsafe or plotly is missing, or the page cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> run = RunRecord(label="full", layer="full", perplexity={"test": 114.5})
        >>> with TemporaryDirectory() as folder:
        ...     "114.5" in write_report([run], f"{folder}/report.html").read_text(encoding="utf-8")
        True
    """
    runs = latest(records)
    if not runs:
        raise InputError("records is empty: give one record or more.")
    page = _render(_context(runs))
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _render(context: Mapping[str, Any]) -> str:
    require_report()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    theme, *own = map(_asset, _SCRIPTS)
    scripts = [theme, get_plotlyjs(), *own]
    return environment.get_template("report.html").render(
        **context,
        style=Markup("".join(map(_asset, _STYLES))),
        scripts=list(map(Markup, scripts)),
        script_hashes=Markup(" ".join(map(_hash, scripts))),
    )


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return the Content-Security-Policy hash of a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _context(runs: Sequence[RunRecord]) -> dict[str, Any]:
    rows, reference = summary_rows(runs), reference_label(runs)
    figures = comparison_figures(runs)
    pairs = judge(runs)
    drawn = {trace.get("meta") for figure in figures for view in figure.views for trace in view.data}
    return {
        "title": _title(runs),
        "facts": _facts(runs),
        "warnings": _warnings(runs, reference),
        "verdict": verdict_sentences(runs),
        "pairs": pairs_table(pairs),
        "findings": findings(rows, reference, pairs),
        **method_table(rows, reference),
        "styles": method_styles((row.label for row in rows if row.done), reference),
        "chips": [row.label for row in rows if row.label in drawn],
        "figures": [asdict(figure) for figure in figures],
        "tables": extra_tables(runs),
        "commands": _distinct(run.command for run in runs),
        "machine": _machine(runs),
        "configurations": list(map(_configuration, runs)),
        "footer": "Made by vastmax from the records of these runs alone.",
    }


def _title(runs: Sequence[RunRecord]) -> str:
    methods = len({run.label for run in runs})
    train = _distinct(run.corpus.get("train") for run in runs)
    on = f" on {PurePath(train[0]).name}" if len(train) == 1 else ""
    return f"{methods} output layer{'s' if methods > 1 else ''}{on}"


def _facts(runs: Sequence[RunRecord]) -> list[tuple[str, str, str]]:
    """Return name, value and tooltip of each fact about the comparison as a whole."""
    corpus = next((run.corpus for run in runs if run.corpus), {})
    size, finished = corpus.get("vocabulary_size"), max(run.finished for run in runs)
    seeds, failed = sorted({run.seed for run in runs}), sum(run.status == "failed" for run in runs)
    facts = [("Vocabulary", f"{size:,} words" if isinstance(size, int) else "", "")]
    for name, text in (("train", "Training text"), ("valid", "Validation text"), ("test", "Test text")):
        words = corpus.get(f"{name}_words")
        facts.append((text, f"{whole(words)} words" if isinstance(words, int) else "", str(corpus.get(name) or "")))
    facts += [
        ("Budget a run", " or ".join(_distinct(run.budget for run in runs)), ""),
        ("Seeds" if len(seeds) > 1 else "Seed", ", ".join(map(str, seeds)), ""),
        ("Runs", f"{len(runs) - failed} done" + (f", {failed} failed" if failed else ""), ""),
        ("Finished", finished[:16].replace("T", " ") + " UTC" if finished else "", ""),
    ]
    return [fact for fact in facts if fact[1]]


def _warnings(runs: Sequence[RunRecord], reference: str | None) -> list[str]:
    found = []
    if len(_distinct(run.corpus.get("fingerprint") for run in runs)) > 1:
        found.append("These runs are not on the same text: their perplexities cannot be compared.")
    if len(_distinct(run.machine for run in runs)) > 1:
        found.append("These runs are not of the same machine: their speeds cannot be compared.")
    if reference is None:
        found.append("There is no run of the full softmax that is done, so nothing is measured against it.")
    return found


@dataclass(frozen=True)
class Finding:
    """One finding: its title, the method, its value with the unit, and a comparison with the full softmax."""

    title: str
    label: str
    value: str
    sentence: str  # continues after the label


def findings(rows: Sequence[SummaryRow], reference: str | None, pairs: Sequence[Pair]) -> list[Finding]:
    """Return up to three findings: best perplexity, fastest in training, fastest within 5 % of the reference.

    A method that wins twice has one card with both titles; the fastest at test and the least memory then fill up.
    """
    perplexities = {row.label: row.test.mean for row in rows if row.test}
    full = None if reference is None else perplexities.get(reference)
    found = [_best(perplexities, reference, pairs)] if perplexities else []
    speeds = {row.label: row.training_speed.mean for row in rows if row.test and row.training_speed}
    near = {} if full is None else {each: speeds[each] for each in speeds if perplexities[each] <= MARGIN * full}
    tests = {row.label: row.evaluation_speed.mean for row in rows if row.test and row.evaluation_speed}
    sizes = {row.label: row.peak_memory.mean for row in rows if row.test and row.peak_memory}
    for place, (title, values, best, text) in enumerate(
        (
            ("Fastest in training", speeds, max, lambda value: f"{whole(value)} words/s"),
            ("Fastest within 5 % of full", near, max, lambda value: f"{whole(value)} words/s"),
            ("Fastest at test", tests, max, lambda value: f"{whole(value)} test words/s"),
            ("Least memory", sizes, min, memory),
        )
    ):
        if not values or (place > 1 and (len(found) >= 3 or len(values) < 2)):
            continue
        label = best(values, key=values.__getitem__)
        value = text(values[label])
        card = next((each for each in found if each.label == label), None)
        if card is not None:
            # the first two titles join the card of their method; the others need a method without a card
            if place < 2:
                both = card.value if value in card.value else f"{card.value}, {value}"
                found[found.index(card)] = replace(card, title=f"{card.title}, {title.lower()}", value=both)
            continue
        sentence = f"at perplexity {number(perplexities[label])}."
        if full is not None and label == reference:
            sentence = "is the full softmax itself."
        elif full is not None:
            sentence = f"comes out {_against(perplexities[label], full, reference)}."
            if place < 2 and reference in speeds:
                times = values[label] / speeds[reference]
                sentence = f"trains {times:.3g} times as fast as {reference}, and {sentence}"
        found.append(Finding(title, label, value, sentence))
    return found


def _best(perplexities: Mapping[str, float], reference: str | None, pairs: Sequence[Pair]) -> Finding:
    """Return the method with the lowest perplexity, or an undecided finding."""
    label = pairs[0].better if pairs else min(perplexities, key=perplexities.__getitem__)
    value, full = perplexities[label], perplexities.get(reference or "")
    open_ = [pair for pair in pairs if pair.better == label and pair.status != "different"]
    if open_:
        names = named([label, *(pair.worse for pair in open_)])
        most = max(perplexities[pair.worse] for pair in open_)
        return Finding("Best perplexity", "Undecided", f"{number(value)} to {number(most)}", f"between {names}.")
    sentence = "has the lowest perplexity on the test text"
    if label == reference:
        sentence += ": no approximation beats it here"
    elif full is not None:
        sentence += f", {_against(value, full, reference)}"
    return Finding("Best perplexity", label, f"{number(value)} test perplexity", f"{sentence}.")


def _against(perplexity: float, full: float, reference: str | None) -> str:
    difference = 100 * (perplexity / full - 1)
    if difference >= 100:
        return f"at {1 + difference / 100:.2g} times {reference}'s {number(full)}"
    if abs(difference) < 0.05:
        return f"level with {reference}'s {number(full)}"
    side = "above" if difference > 0 else "below"
    return f"{abs(difference):.1f}\N{NO-BREAK SPACE}% {side} {reference}'s {number(full)}"


def _machine(runs: Sequence[RunRecord]) -> dict[str, str]:
    machines, commits = _distinct(run.machine for run in runs), _distinct(run.commit for run in runs)
    found = {"Machine": "; ".join(machines), "Commit": ", ".join(commits)}
    found |= {name: str(version) for run in runs for name, version in run.versions.items()}
    return {name: value for name, value in found.items() if value}


def _configuration(run: RunRecord) -> tuple[str, str]:
    document: dict[str, Any] = {"layer": run.layer, "options": run.options, "seed": run.seed, "config": run.config}
    if run.backends:
        document["backends"] = run.backends
    return f"{run.label}, seed {run.seed}", json.dumps(document, indent=2, ensure_ascii=False, default=str)


def _distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value))

"""The report in a browser: sorting, switches, light and dark, phone width, no network access."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.comparison.report.browser import chromium
from tests.comparison.report.runs import FAILURE, METHODS, comparison_records, run_of
from vastmax.comparison.report import RunRecord, write_report

ESTIMATORS = sum(each[1] == "estimator" for each in METHODS.values())
AGAINST_FULL, WORDS_A_SECOND, TO_FULL = 3, 8, 9
EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'><b>a</b>&lt;"

BOXES = "all => all.map(each => { const b = each.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })"

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(comparison_records(), tmp_path_factory.mktemp("report") / "report.html")


def open_in(browser: Any, path: Path, *, width: int = 1280, **options: Any) -> Any:
    """Open a page in its own context, and record its console messages, errors and requests."""
    page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
    page.set_default_timeout(120_000)  # for busy machines
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri())
    settle(page)
    return page


def settle(page: Any) -> None:
    """Wait until all figures are drawn and labelled."""
    page.wait_for_selector("main[aria-busy=false]")


def wait_until(page: Any, expression: str) -> None:
    """Wait for a condition; Playwright's wait_for_function evaluates text in the page, which its policy forbids."""
    for _ in range(600):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"waited in vain for {expression}")


@pytest.fixture(scope="module")
def untouched(browser: Any, report: Path) -> Iterator[Any]:
    """A shared page for read-only tests."""
    page = open_in(browser, report)
    yield page
    page.context.close()


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[Open]:
    """Opens pages; after the test, checks that none reported errors or requested anything but itself."""
    pages = []

    def opened(path: Path = report, **options: Any) -> Any:
        pages.append(open_in(browser, path, **options))
        return pages[-1]

    yield opened
    for page in pages:
        page.context.close()
    assert [page.said for page in pages] == [[] for _ in pages]
    assert all(len(page.asked) == 1 for page in pages)


def column(page: Any, index: int) -> list[str]:
    return page.eval_on_selector_all(
        "#methods tbody:not(.failed) tr", f"rows => rows.map(row => row.cells[{index}].innerText.trim())"
    )


def numbers(texts: list[str]) -> list[float]:
    return [float(each.replace(",", "")) for each in texts]


def test_the_table_shows_every_method_best_first(untouched: Any) -> None:
    page = untouched
    assert sorted(column(page, 0)) == sorted(METHODS)
    tests = numbers(column(page, 2))
    assert tests == sorted(tests) and tests[0] == 113.1
    assert page.locator("#methods thead th[aria-sort=ascending]").inner_text().startswith("Test")
    assert FAILURE in page.locator("tbody.failed").inner_text()
    assert page.locator("#methods tbody th a").count() == len(METHODS) + 1
    assert page.locator("#methods tbody th a").first.get_attribute("href") == "https://arxiv.org/g"


def test_headings_sort_by_number_and_back_and_by_keyboard(open_page: Open) -> None:
    page = open_page()
    heading = page.locator("#methods thead th").nth(WORDS_A_SECOND)
    heading.locator("button").click()
    speeds = numbers(column(page, WORDS_A_SECOND))
    # as text, 10,300 would sort before 3,750
    assert speeds == sorted(speeds) and heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").click()
    assert numbers(column(page, WORDS_A_SECOND)) == speeds[::-1]
    assert (
        page.locator("#methods thead th[aria-sort=descending]").count()
        == 1
        == page.locator("#methods thead th[aria-sort$=cending]").count()
    )
    assert page.locator("#methods tbody tr").last.inner_text().startswith("cnn")

    page.locator("#methods thead th button").nth(AGAINST_FULL).click()
    assert numbers(column(page, 2)) == sorted(numbers(column(page, 2)))  # by value, not as text

    page.locator("#methods thead th button").nth(TO_FULL).click()
    times = column(page, TO_FULL)
    assert times.count("never") >= 5 and times.index("never") == len(times) - times.count("never")

    page.locator("#theme").focus()
    for _ in range(3):  # past the scrollable box to the first heading and the next
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    kinds = column(page, 1)
    assert kinds == sorted(kinds) and len(set(kinds)) == 3


def test_figures_have_a_trace_a_method(untouched: Any) -> None:
    page = untouched
    for name, expected in {"tradeoff": 19, "progress": 19, "bands": 19, "gradients": ESTIMATORS}.items():
        labels = page.evaluate(f"document.getElementById('{name}').data.filter(t => t.meta).map(t => t.name)")
        assert len(labels) == len(set(labels)) == expected, name
        assert set(labels) <= set(METHODS)
        extra = page.evaluate(f"document.getElementById('{name}').data.filter(t => !t.meta).length")
        assert page.locator(f"#{name} .scatterlayer > .trace").count() == expected + extra


def test_points_are_where_the_records_say(untouched: Any) -> None:
    page = untouched
    at = page.evaluate(
        """Object.fromEntries(document.getElementById('tradeoff').data
            .filter(t => t.meta).map(t => [t.name, [t.x[0], t.y[0]]]))"""
    )
    for label, (_, _, perplexity, speed, *_) in METHODS.items():
        # the point far above is drawn at the edge
        assert at[label][0] == speed and (at[label][1] == perplexity) == (label != "negative-sampling")
    assert "negative-sampling (412)" in page.locator("#tradeoff + figcaption").inner_text()
    assert "full + 5 %" in page.locator("#progress").inner_text()


def overlapping_names(page: Any) -> list:
    boxes = page.eval_on_selector_all("#tradeoff .annotation-text", BOXES)
    return [
        (a, b)
        for index, a in enumerate(boxes)
        for b in boxes[:index]
        if min(a[2], b[2]) - max(a[0], b[0]) > 2 and min(a[3], b[3]) - max(a[1], b[1]) > 3
    ]


def test_every_point_has_its_name_and_none_overlap(untouched: Any) -> None:
    assert untouched.locator("#tradeoff .annotation-text").count() == len(METHODS)
    assert overlapping_names(untouched) == []


def test_the_page_asks_for_nothing_and_complains_of_nothing(untouched: Any, report: Path) -> None:
    assert untouched.asked == [report.as_uri()]
    assert untouched.said == []


@pytest.mark.slow
def test_methods_are_toggled_views_switched_and_zoomed(open_page: Open) -> None:
    page = open_page()

    def shown() -> list[int]:
        return page.eval_on_selector_all(".plot", "all => all.map(p => p.data.filter(t => t.meta && t.visible).length)")

    page.locator("#chips button", has_text="sampled-bigram").click()
    assert shown() == [18, 18, 18, ESTIMATORS - 1]
    assert page.locator("#chips button[aria-pressed=false]").inner_text() == "sampled-bigram"
    page.locator("#none").click()
    assert shown() == [0, 0, 0, 0]
    page.locator("#all").click()
    assert shown() == [19, 19, 19, ESTIMATORS]

    title = "document.getElementById('tradeoff').layout.xaxis.title.text"
    page.get_by_role("button", name="Test speed").click()
    assert page.evaluate(title) == "test words per second"
    page.get_by_role("button", name="Time to full").click()
    assert page.evaluate(title) == "training time to full softmax + 5 %"
    assert "Never reached: " in page.locator("#tradeoff + figcaption").inner_text()

    page.get_by_role("button", name="Training speed").click()
    settle(page)
    before = page.locator("#tradeoff .annotation-text").count()
    page.evaluate("Plotly.relayout('tradeoff', {'xaxis.range[0]': 4, 'xaxis.range[1]': 4.2})")
    settle(page)
    ticks = page.locator("#tradeoff .xtick text").all_text_contents()
    assert len(ticks) >= 4 and all(10 <= float(each.removesuffix("k")) <= 10**1.2 for each in ticks)
    assert 5 < page.locator("#tradeoff .annotation-text").count() < before == len(METHODS)


@pytest.mark.slow
def test_the_front_goes_by_the_methods_that_are_shown(open_page: Open) -> None:
    page = open_page()
    front = "document.getElementById('tradeoff').data.find(t => t.ids).ids"
    before = page.evaluate(front)
    page.locator("#chips button", has_text=before[1]).first.click()
    assert page.evaluate(front) == [before[0], *before[2:]]


@pytest.mark.slow
def test_axes_stay_where_nothing_is_shown_and_come_back_after_zooming(open_page: Open) -> None:
    page = open_page()
    ranges = "['xaxis', 'yaxis'].map(key => document.getElementById('tradeoff').layout[key].range)"
    before = page.evaluate(ranges)
    page.locator("#none").click()
    settle(page)
    assert page.evaluate(ranges) == before
    page.locator("#all").click()
    box = page.locator("#tradeoff .plotly .nsewdrag").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y + 100, steps=4)
    page.mouse.up()
    settle(page)
    assert page.evaluate(ranges) != before
    page.locator("#tradeoff .modebar-btn[data-title='Reset axes']").click()
    settle(page)
    assert page.evaluate(ranges) == before


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_phone_scrolls_tables_and_not_the_page(open_page: Open, tmp_path: Path, seeds: int) -> None:
    path = write_report(comparison_records(seeds=seeds), tmp_path / "report.html")
    page = open_page(path, width=390, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.querySelector('#methods .scroll').scrollWidth") > 700
    assert page.locator("#tradeoff .annotation-text").count() >= 10
    assert overlapping_names(page) == []
    for width in (768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        wait_until(page, f"document.getElementById('tradeoff').layout.width > {0.8 * width}")
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width


LAYOUT = """() => [...document.querySelectorAll(".plot")].map((plot) => {
    const boxes = (query) => [...plot.querySelectorAll(query)].map((each) => {
        const { left, right, top, bottom } = each.getBoundingClientRect();
        return { left, right, top, bottom, text: each.textContent };
    });
    const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    const titles = boxes(".xtitle, .ytitle, .gtitle").filter(({ text }) => text);
    const [x, y] = [boxes(".xtick text"), boxes(".ytick text")];
    const all = [...titles, ...x, ...y];
    const { left, right } = plot.getBoundingClientRect();
    return {
        name: plot.id, titles: titles.length, x: x.length, y: y.length,
        overlaps: all.flatMap((one, index) => all.slice(0, index).filter((other) => meets(one, other))
            .map((other) => [one.text, other.text])),
        outside: all.filter((each) => each.left < left - 1 || each.right > right + 1).map(({ text }) => text),
        legend: [...plot.nextElementSibling.querySelectorAll(".legend > span")].map((each) => each.textContent),
    };
})"""


def short_runs() -> list[RunRecord]:
    """Return runs of a few seconds: all axes span less than a decade."""
    return [
        run_of(
            label,
            perplexity,
            epochs=0.03,
            training_seconds=12.0,
            training_words_per_second=3000.0 * scale,
            evaluation_words_per_second=11_000.0 * scale,
            corpus={"train_words": 1_000_000},
            curve=[
                {"words": 12_000.0 * scale * k, "seconds": 4.0 * k, "valid_perplexity": perplexity * (1.3 - 0.1 * k)}
                for k in (1, 2, 3)
            ],
            gradient_error=[{"samples": k, "gradient_rmse": 0.9 + 0.1 / k, "gradient_bias": 0.3} for k in (64, 80, 96)],
        )
        for label, perplexity, scale in (("full", 1510.0, 1.0), ("nce", 1620.0, 1.3), ("sampled", 1580.0, 1.2))
    ]


@pytest.mark.parametrize(("width", "phone"), [(360, True), (390, True), (1280, False)])
@pytest.mark.parametrize("runs", [short_runs, comparison_records], ids=["short", "long"])
def test_axes_have_marks_and_titles_apart(open_page: Open, tmp_path: Path, width: int, phone: bool, runs: Any) -> None:
    page = open_page(write_report(runs(), tmp_path / "r.html"), width=width, has_touch=phone, is_mobile=phone)
    views = page.locator(".views button")
    for each in [None, *range(views.count())]:
        if each is not None:
            views.nth(each).click()
            settle(page)
        for plot in page.evaluate(LAYOUT):
            assert plot["overlaps"] == [] and plot["outside"] == [], plot
            assert plot["x"] >= 3 and plot["y"] >= 3 and plot["titles"] == 2, plot
            assert bool(plot["legend"]) == (phone and plot["name"] != "tradeoff"), plot
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow
def test_dark_and_light_are_different_colours(open_page: Open) -> None:
    look = """() => [
        getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
        document.querySelector('#tradeoff .xtick text').style.fill,
        getComputedStyle(document.querySelector('#chips path')).fill,
        document.querySelector('#tradeoff .points path').style.fill,
    ]"""
    light = open_page(color_scheme="light").evaluate(look)
    page = open_page(color_scheme="dark")
    dark = page.evaluate(look)
    assert all(a != b for a, b in zip(light, dark, strict=True))
    page.locator("#theme").click()
    settle(page)
    assert page.evaluate(look) == light
    page.reload()
    page.asked.pop()
    settle(page)
    assert page.evaluate(look) == light


def test_text_from_users_stays_text(open_page: Open, tmp_path: Path) -> None:
    full = comparison_records(failed=False)[0]
    evil = {
        **full.to_json(),
        "label": EVIL,
        "layer": EVIL,
        "command": EVIL,
        "machine": EVIL,
        "budget": EVIL,
        "commit": EVIL,
    }
    evil |= {
        "corpus": {**full.corpus, "train": EVIL, "test": '" onmouseover="window.hacked = 1'},
        "reference": "javascript:1",
    }
    failed = RunRecord(
        label="</script>" + EVIL, layer="b", status="failed", error=EVIL, reference='https://a"onclick="b'
    )
    page = open_page(write_report([full, RunRecord.from_json(evil), failed], tmp_path / "report.html"))
    assert page.evaluate("window.hacked") is None
    assert EVIL in page.locator("tbody.failed .error").inner_text()
    assert EVIL in page.locator("#methods tbody").first.inner_text()
    assert EVIL in page.locator("#tradeoff .annotation-text").all_text_contents()
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 6
    assert page.eval_on_selector_all("a", "all => all.every(a => /^https?:/.test(a.href) && !a.onclick)")


def test_the_browser_is_forbidden_to_load_or_run_anything_else(browser: Any, report: Path) -> None:
    page = open_in(browser, report)
    blocked = []
    page.on("requestfailed", lambda request: blocked.append(request.failure))
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'hacked = 1'}))")
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')") == "refused"
    assert page.evaluate("window.hacked") is None
    # refused by the page's policy, not because no server answers
    assert blocked and set(blocked) == {"csp"}
    page.context.close()

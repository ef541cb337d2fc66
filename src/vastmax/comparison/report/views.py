"""What a picture of the report is made of, as plain data: series on two axes, in one view or several."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Axis", "ComparisonFigure", "Point", "Series", "View"]

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """An axis: its title, and how its numbers are laid out and written.

    Attributes:
        title: what is measured, and in what unit.
        log: logarithmic.
        names: one a place from 0, where there are names and no numbers.
        unit: "number" or "seconds".
        limit: what is above lies beyond the edge, so that one method far off does not press all others together.
    """

    title: str
    log: bool = True
    names: list[str] | None = None
    unit: str = "number"
    limit: float | None = None


@dataclass(frozen=True)
class Series:
    """One method in one picture; ``y`` of None breaks the line, and ``notes`` are told where a point is pointed at."""

    method: str
    x: list[float | None]
    y: list[float | None]
    notes: list[str]


@dataclass(frozen=True)
class View:
    """One way to look at a picture: two axes, a series a method, and what is drawn beneath them.

    Attributes:
        name: on the switch between views.
        x: the axis across.
        y: the axis up.
        series: one a method.
        front: the methods on the Pareto front, from best perplexity to lowest cost.
        guides: dotted lines, each (x, y) from one end to the other.
        level: a horizontal line and what it stands for.
        note: a sentence below the picture.
    """

    name: str
    x: Axis
    y: Axis
    series: list[Series]
    front: list[str] = field(default_factory=list)
    guides: list[list[Point]] = field(default_factory=list)
    level: tuple[float, str] | None = None
    note: str = ""


@dataclass(frozen=True)
class ComparisonFigure:
    """A picture with one view or more.

    Attributes:
        name: its identifier in the page.
        title: its heading.
        text: how to read it.
        style: "points" or "lines".
        views: what can be switched between; those without any data are left out.
    """

    name: str
    title: str
    text: str
    style: str
    views: list[View]

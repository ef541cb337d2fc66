"""Format numbers for readers: enough digits to compare, and no more."""

from __future__ import annotations

__all__ = ["memory", "number", "seconds", "whole"]


def number(value: float) -> str:
    """Format a number with one decimal; without decimals from 1,000, in scientific notation from a million.

    Example:
        >>> number(114.53), number(15344.2), number(3.14159)
        ('114.5', '15,344', '3.1')
    """
    if abs(value) >= 1e6:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def whole(value: float) -> str:
    """Format a count or a speed as an integer with thousands separators; a fraction below 10 with two digits.

    Example:
        >>> whole(12345.6), whole(0.5), whole(2_653_401)
        ('12,346', '0.5', '2,653,401')
    """
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2g}"


def seconds(value: float) -> str:
    """Format a duration in seconds in its two largest units.

    Example:
        >>> seconds(3.21), seconds(83), seconds(7265), seconds(200_000)
        ('3.2 s', '1 min 23 s', '2 h 1 min', '2 d 8 h')
    """
    if value < 59.5:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    if value < 3599.5:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    minutes = round(value / 60)
    if minutes < 24 * 60:
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, hours = divmod(round(value / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def memory(value: float) -> str:
    """Format bytes in MB or GB (powers of ten).

    Example:
        >>> memory(412_345_678), memory(2_345_678_901)
        ('412 MB', '2.3 GB')
    """
    return f"{value / 1e9:.1f} GB" if value >= 999.5e6 else f"{value / 1e6:,.0f} MB"

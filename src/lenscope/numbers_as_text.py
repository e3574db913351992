"""Numbers as they are printed: percentages, intervals and differences, the same in every verb, page and table."""

from __future__ import annotations

from math import isfinite


def clip01(fraction: float) -> float:
    """A fraction between 0 and 1, also where an interval of one goes beyond.

    >>> clip01(1.004)
    1.0
    """
    return min(1.0, max(0.0, fraction))


def percent(fraction: float, digits: int = 2) -> str:
    """A fraction as a percentage.

    >>> percent(0.97494)
    '97.49 %'
    """
    return f"{100 * fraction:.{digits}f} %"


def percent_range(interval: tuple[float, float], digits: int = 2) -> str:
    """An interval of fractions as percentages, within 0 and 100; empty if it has no finite bounds.

    >>> percent_range((0.9716, 0.97779)), percent_range((0.991, 1.004), 1)
    ('97.16 to 97.78 %', '99.1 to 100.0 %')
    """
    low, high = map(clip01, interval)
    return f"{100 * low:.{digits}f} to {percent(high, digits)}" if isfinite(interval[0]) else ""


def points(difference: float) -> str:
    """A difference of fractions in percentage points.

    >>> points(-0.0012), points(-0.00003)
    ('−0.12', '0.00')
    """
    return f"{100 * difference:z.2f}".replace("-", "−")


def duration(seconds: float) -> str:
    """A duration in its largest unit.

    >>> duration(0.2), duration(45), duration(240), duration(9_000), duration(400_000)
    ('1 s', '45 s', '4 min', '2.5 h', '4.6 days')
    """
    if seconds <= 90:
        return f"{max(1, seconds):.0f} s"
    if seconds <= 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds <= 172_800 else f"{seconds / 86_400:.1f} days"


def signed(difference: float) -> str:
    """A difference with its sign.

    >>> signed(-0.121)
    '−0.12'
    """
    return f"{difference:+z.2f}".replace("-", "−")

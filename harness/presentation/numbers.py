"""Numbers as a reader wants them: three significant digits, intervals, times with a unit. Unknown is an en dash."""

from __future__ import annotations

import math

UNKNOWN = "–"
SMALL, LARGE = 1e-3, 1e6


def number(value: float) -> str:
    """Three significant digits; from 1000 on all digits before the point, beyond 10⁶ and below 10⁻³ a power of ten.

    Zeros at the end stand where they are rounded digits, and not where the value ends there.

    >>> [number(x) for x in (4454.2, 82.555, 1, 1.0001, 0.0123456, 2.45e6, 1.5e-5, 0, float("nan"), float("inf"))]
    ['4454', '82.6', '1', '1.00', '0.0123', '2.45e6', '1.5e-5', '0', '–', '∞']
    """
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value < 0:
        return "−" + number(-value)
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    if rounded >= LARGE or rounded < SMALL:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{trimmed(mantissa, value / 10 ** int(exponent))}e{int(exponent)}"
    if rounded >= 1000:
        return f"{value:.0f}"
    return trimmed(f"{rounded:.{max(0, 2 - math.floor(math.log10(rounded)))}f}", value)


def trimmed(text: str, value: float) -> str:
    """Without the zeros after the point, if the text is all of the value."""
    whole = "." in text and math.isclose(float(text), value, rel_tol=1e-12)
    return text.rstrip("0").rstrip(".") if whole else text


def interval(value: float, low: float, high: float) -> str:
    """``4454 [4301, 4612]``; the value alone where it has no interval.

    >>> interval(4454.1, 4301.2, 4611.7)
    '4454 [4301, 4612]'
    """
    if math.isnan(low) or math.isnan(high) or not math.isfinite(value):
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


def with_error(value: float, error: float) -> str:
    """``1.1003 ± 0.0023``: the error with two digits, the value as far as the error goes.

    >>> with_error(1.10034, 0.00231)
    '1.1003 ± 0.0023'
    >>> with_error(1.5, float("nan"))
    '1.5'
    """
    if not (math.isfinite(value) and math.isfinite(error)) or error <= 0:
        return number(value)
    if error < SMALL / 10 or abs(value) >= LARGE:
        return f"{number(value)} ± {number(float(f'{error:.1e}'))}"
    places = max(0, 1 - math.floor(math.log10(float(f"{error:.1e}"))))
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", "−")


def seconds(value: float) -> str:
    """A time with its unit.

    >>> [seconds(x) for x in (2.1, 0.0123, 0.00014, 3.2e-7, float("nan"))]
    ['2.1 s', '12.3 ms', '140 µs', '0.32 µs', '–']
    """
    if not math.isfinite(value):
        return number(value)
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if float(f"{value:.3g}") >= size:
            return f"{number(value / size)} {unit}"
    return f"{number(value / 1e-6)} µs"


def percent(part: float, whole: float) -> str:
    """``94.7 %``; unknown of nothing."""
    return f"{100 * part / whole:.1f} %" if whole and math.isfinite(part) else UNKNOWN


def plural(count: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def verb(count: int, one: str, many: str) -> str:
    """The form that agrees with the count."""
    return one if count == 1 else many

"""Seconds to time codes and back."""

import math
import re

_TIME_CODE = re.compile(r"(?:(?P<h>\d{1,4}):)?(?P<m>[0-5]?\d):(?P<s>[0-5]?\d(?:\.\d+)?)")


def parse_time(value: object) -> float:
    """Seconds from a number, a numeric string, or a time code `[H:]MM:SS[.mmm]`.

    Raises ValueError for anything else, for negative times, and for NaN or infinity.
    """
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value!r} is not a time")
    if isinstance(value, str):
        text = value.strip()
        if match := _TIME_CODE.fullmatch(text):
            seconds = int(match["h"] or 0) * 3600 + int(match["m"]) * 60 + float(match["s"])
        else:
            try:
                seconds = float(text)
            except ValueError:
                raise ValueError(f"{value!r} is not a time") from None
    else:
        try:
            seconds = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{value!r} is not a time") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{value!r} is not a time from 0 on")
    return seconds


def format_time(seconds: float) -> str:
    """`HH:MM:SS`, floored to the whole second."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"

"""Where one window ends and the next begins, and which window's answer counts for a segment."""

from collections.abc import Sequence

from chapter_assets.errors import InputError


def cut(costs: Sequence[int], budget: int, overlap: float) -> list[range]:
    """Ranges of consecutive segments, each with a sum of `costs` (tokens) within `budget`, that cover all of them.

    A window repeats about `overlap` (share of the budget) of the one before it; the last one reaches back as far as
    the budget allows, so that it is no shorter than the others. Raises InputError when one segment alone is too
    long: its text has to be shortened, or the budget raised, first.
    """
    for index, cost in enumerate(costs):
        if cost > budget:
            raise InputError(
                f"Segment {index} takes {cost} tokens and a window has room for {budget}",
                "Raise CHAPTER_ASSETS_WINDOW_TOKENS",
            )
    windows: list[range] = []
    start = 0
    while start < len(costs):
        stop, used = start, 0
        while stop < len(costs) and used + costs[stop] <= budget:
            used += costs[stop]
            stop += 1
        if stop == len(costs):
            while start > 0 and used + costs[start - 1] <= budget:
                start -= 1
                used += costs[start]
        windows.append(range(start, stop))
        if stop == len(costs):
            break
        repeated, next_start = 0, stop
        while next_start - 1 > start and repeated + costs[next_start - 1] <= overlap * budget:
            next_start -= 1
            repeated += costs[next_start]
        while repeated + costs[stop] > budget:  # what comes next has to fit, or the window would lie inside this one
            repeated -= costs[next_start]
            next_start += 1
        start = next_start
    return windows


def most_central(windows: Sequence[range]) -> list[int]:
    """For each segment, the number of the window that shows most segments on both sides of it.

    The start and the end of the video are no edges: nothing is hidden behind them.
    """
    count = windows[-1].stop if windows else 0
    best: list[tuple[int, int]] = [(-1, 0)] * count
    for number, window in enumerate(windows):
        for index in window:
            before = count if window.start == 0 else index - window.start
            after = count if window.stop == count else window.stop - 1 - index
            best[index] = max(best[index], (min(before, after), -number))
    return [-number for _, number in best]

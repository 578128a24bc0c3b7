"""Asset checks: what each asset promises, returned together with its materialization."""

from typing import Any

import dagster as dg


def spec(name: str, asset: str, description: str, blocking: bool = True) -> dg.AssetCheckSpec:
    """A check of `asset`; a blocking one keeps the assets downstream from running in the same run."""
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)


def result(
    name: str, asset: str, passed: bool, problem: str = "", severity: str = "ERROR", **metadata: Any
) -> dg.AssetCheckResult:
    """The outcome of the check `name`; `problem` says what was found when it failed."""
    return dg.AssetCheckResult(
        passed=passed,
        check_name=name,
        asset_key=asset,
        severity=dg.AssetCheckSeverity[severity],
        description=None if passed else problem,
        metadata=metadata,
    )


def counts_add_up(asset: str, counts: dict[str, Any]) -> dg.AssetCheckResult:
    """In = kept + refused, for {in, kept, refused: {reason: n}}."""
    refused = sum(counts["refused"].values())
    return result(
        "counts_add_up",
        asset,
        counts["in"] == counts["kept"] + refused,
        f"{counts['in']} in, but {counts['kept']} kept + {refused} refused",
        **{"in": counts["in"], "kept": counts["kept"], "refused": refused},
    )


def windows_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """What every table of windows promises."""
    return [
        spec("within_budget", asset, "No window takes more tokens than the budget"),
        spec("no_target_cut", asset, "Every chapter is in a window, or counted with the reason"),
    ]


def windows_results(asset: str, counts: dict[str, Any], budget: int) -> list[dg.AssetCheckResult]:
    """Whether it was kept; `counts` as the windows' writers return them, `budget` in tokens."""
    longest, placed = counts["longest_window"], counts["chapters_in_windows"]
    lost = sum(number for name, number in counts.items() if name.startswith("chapters_lost_"))
    return [
        result(
            "within_budget",
            asset,
            longest <= budget,
            f"A window takes {longest} tokens, the budget is {budget}",
            longest=longest,
        ),
        result(
            "no_target_cut",
            asset,
            placed + lost == counts["chapters"],
            f"{counts['chapters']} chapters in, {placed} in windows, {lost} counted as lost",
        ),
    ]

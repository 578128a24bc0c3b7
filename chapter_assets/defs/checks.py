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

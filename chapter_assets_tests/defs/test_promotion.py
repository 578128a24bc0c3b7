"""The assets promotion and champion, materialized for real on artifacts that were made up."""

from typing import Any

import dagster as dg

from chapter_assets.lifecycle import champion
from chapter_assets_tests.conftest import Deployment, failure
from chapter_assets_tests.lifecycle.judged import finish


def materialize(deployment: Deployment, key: str) -> dg.ExecuteInProcessResult:
    """`promotion` of one finetune, and `champion`."""
    deployment.instance.add_dynamic_partitions("finetune", [key])
    job = deployment.definitions.resolve_job_def("finetune")
    return job.execute_in_process(
        instance=deployment.instance,
        partition_key=key,
        asset_selection=[dg.AssetKey("promotion"), dg.AssetKey("champion")],
        raise_on_error=False,
    )


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}


def test_a_better_finetune_serves_and_the_ui_shows_the_table_that_it_was_decided_by(deployment: Deployment) -> None:
    finish(deployment.store, "ft-0001", hit=0.6)
    first = materialize(deployment, "ft-0001")
    assert first.success, failure(first)
    assert failed_checks(first) == set()
    assert metadata(first, "promotion")["promoted"] is True
    assert metadata(first, "champion")["finetune"] == "ft-0001"

    finish(deployment.store, "ft-0002", hit=0.6, others={"champion": 0.9})
    second = materialize(deployment, "ft-0002")
    assert second.success, failure(second)
    shown = metadata(second, "promotion")
    assert shown["promoted"] is False
    assert "not shown to be better than the champion ft-0001" in shown["decision"]
    assert "| better | F1 | the public gate set | the champion ft-0001 |" in shown["decision"]
    assert shown["judged"]["against"]["champion"]["finetune"] == "ft-0001"
    assert failed_checks(second) == {"no_regression"}
    assert metadata(second, "champion")["finetune"] == "ft-0001"


def test_a_missing_list_and_a_champion_whose_files_disagree_fail_their_checks(deployment: Deployment) -> None:
    store = deployment.store
    finish(store, "ft-0001", hit=0.6)
    champion.promote(store, "ft-0001", "as a start")
    before = (store.root / "champion" / "champion.json").read_text()
    finish(store, "ft-0002", hit=0.9, others={"champion": 0.5}, without=["v003"])
    assert "nothing_missing" in failed_checks(materialize(deployment, "ft-0002"))

    finish(store, "ft-0003", hit=0.9)
    champion.promote(store, "ft-0003", "by hand")
    (store.root / "champion" / "champion.json").write_text(before)
    finish(store, "ft-0001", hit=0.1)
    (store.root / "champion" / "champion.json").write_text(before)
    finish(store, "ft-0004", hit=0.5, others={"champion": 0.5})
    assert {"history_agrees", "adapter_whole"} <= failed_checks(materialize(deployment, "ft-0004"))


def test_predictions_beside_a_former_champion_fail_with_the_way_out(deployment: Deployment) -> None:
    finish(deployment.store, "ft-0001", hit=0.6)
    finish(deployment.store, "ft-0002", hit=0.9)
    champion.promote(deployment.store, "ft-0001", "as a start")
    result = materialize(deployment, "ft-0002")
    assert not result.success
    assert "Materialize chapter_predictions, eval_report and promotion ft-0002 again" in failure(result)

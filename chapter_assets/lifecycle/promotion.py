"""From a finetune's artifacts to the gate's decision on it, kept in the store and carried out."""

from dataclasses import asdict, dataclass

from chapter_assets.errors import StoreError
from chapter_assets.evaluation.predictions import judged_gold
from chapter_assets.evaluation.table import CHAMPION
from chapter_assets.lifecycle import champion
from chapter_assets.lifecycle.champion import Judged, Pinned
from chapter_assets.lifecycle.gate import RULES, Decision, gate_videos, take_look
from chapter_assets.settings import Settings
from chapter_assets.store import Artifact, Store, content_hash

_JUDGED = ("training_set", "lora_adapter", "chapter_predictions", "eval_report")


@dataclass(frozen=True, slots=True)
class Decided:
    """The artifact of a decision, the decision, and the finetunes that were judged against, by system name."""

    artifact: Artifact
    decision: Decision
    against: dict[str, str]


def decide(store: Store, finetune: str, settings: Settings, code_version: str) -> Decided:
    """Judge `finetune` by its stored predictions, keep the decision as its artifact `promotion`, and carry it out.

    Decided once, it is not judged again as long as artifacts, opponents and rules are the same; nor is the champion,
    whatever else changed. Raises StoreError when the artifacts do not belong together, or another champion serves by
    now than was predicted beside the finetune.
    """
    artifacts = {name: store.read(name, finetune) for name in _JUDGED}
    against = _opponents(artifacts)
    versions = {name: artifact.version for name, artifact in artifacts.items()}
    judged = versions | {"against": {system: asdict(pinned) for system, pinned in against.items()}}
    rules = {name: getattr(settings, name) for name in RULES}
    inputs = content_hash([code_version, judged, rules])
    serving = champion.read(store)
    serves = serving is not None and serving.finetune == finetune
    if store.made_from("promotion", finetune, inputs) is None and not (serves and store.exists("promotion", finetune)):
        with store.publish("promotion", finetune, inputs) as draft:
            if serves and serving is not None:
                decision = Decision(False, f"Not judged: it serves already, by {serving.by}: {serving.why}")
            else:
                decision = _judge(store, finetune, artifacts, settings)
            draft.details = {"decision": asdict(decision), "judged": judged, "rules": rules}
            draft.version = content_hash(draft.details)
    artifact = store.read("promotion", finetune)
    decision = Decision.of(artifact.details["decision"])
    if decision.promoted:
        made = artifact.details["judged"]
        before = made["against"].get(CHAMPION)
        resting_on = Judged(artifact.inputs, made["lora_adapter"], None if before is None else Pinned(**before))
        champion.promote(store, finetune, decision.reason, resting_on)
    return Decided(artifact, decision, {system: pinned.finetune for system, pinned in against.items()})


def _opponents(artifacts: dict[str, Artifact]) -> dict[str, Pinned]:
    """Whom the predictions were made beside; StoreError unless they are of this adapter and in this report."""
    predicted, report = artifacts["chapter_predictions"], artifacts["eval_report"]
    made_of, shown = predicted.details.get("adapter"), report.details.get("chapter_predictions")
    if (made_of, shown) != (artifacts["lora_adapter"].version, predicted.version):
        raise StoreError(
            f"The adapter, the predictions and the report of {predicted.partition} are not of one run",
            f"Materialize chapter_predictions and eval_report {predicted.partition} again",
        )
    return {system: Pinned(**pinned) for system, pinned in predicted.details["against"].items()}


def _judge(store: Store, finetune: str, artifacts: dict[str, Artifact], settings: Settings) -> Decision:
    against, now = _opponents(artifacts), champion.opponents(store, finetune)
    if against != now:
        was, is_ = (", ".join(f"{s} {p.finetune}" for s, p in sorted(a.items())) or "nobody" for a in (against, now))
        raise StoreError(
            f"{finetune} was predicted beside {was}, but now it has to stand up to {is_}",
            f"Materialize chapter_predictions, eval_report and promotion {finetune} again",
        )
    training_set, predicted = artifacts["training_set"], artifacts["chapter_predictions"]
    domains = {v["video_id"]: v.get("domain") for v in training_set.table("videos").to_pylist()}
    feedback = frozenset(video_id for video_id, domain in domains.items() if domain == "feedback")
    gold = judged_gold(training_set, "gate")
    look = content_hash([training_set.version, artifacts["lora_adapter"].version, predicted.version])
    return take_look(
        store,
        finetune,
        look,
        gate_videos(predicted.table("predictions"), gold, against, feedback),
        {system: pinned.finetune for system, pinned in against.items()},
        settings,
    )

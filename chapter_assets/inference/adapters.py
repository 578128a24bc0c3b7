"""An adapter's folder: the PEFT files, and beside them what choosing and decoding need to know."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chapter_assets.errors import InputError
from chapter_assets.inference.base_models import BaseModel, fast_dtype, find_base_model, load_causal_lm, load_tokenizer
from chapter_assets.inference.choosers import GenerateChooser, HeadChooser, PositionChooser
from chapter_assets.inference.decoder import Priors
from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.inference.head import BoundaryHead
from chapter_assets.inference.predictor import Predictor
from chapter_assets.inference.titlers import LexicalTitler, ModelTitler
from chapter_assets.windows.prompts import PromptBuilder

CHOOSER_FILE = "chooser.json"
_HEAD_FILE = "boundary_head.safetensors"
_SCHEMA_VERSION = 4  # 2: languages; 3: cohesion over spans of time; 4: bounds of the position features
_FEW = 10  # videos; fewer teach no language


def write_chooser(
    folder: Path,
    base: BaseModel,
    prompt: str,
    window: tuple[int, float],
    head: BoundaryHead | None,
    priors: Priors,
    control: Sequence[float],
    control_bounds: NDArray[np.float32],
    control_priors: Priors,
    languages: Mapping[str, int],
) -> None:
    """Write what `load_adapter` needs beyond the PEFT files; `prompt` is the prompt builder's fingerprint.

    `window`: token budget and overlap. `priors` belong to the head's scores, `control_priors` to those of the
    text-free control with the weights `control`, of features within `control_bounds`. Without a head, the adapter
    writes time stamps itself. `languages`: the number of videos whose titles were learned, by language.
    """
    value = {
        "schema_version": _SCHEMA_VERSION,
        "method": "generate" if head is None else "boundary_head",
        "priors": asdict(priors),
        "control": list(control),
        "control_bounds": control_bounds.tolist(),
        "control_priors": asdict(control_priors),
        "base_model": {"name": base.name, "hash": base.hash},
        "prompt": prompt,
        "window_tokens": window[0],
        "window_overlap": window[1],
        "languages": dict(languages),
    }
    if head is not None:
        head.save(folder / _HEAD_FILE)
    (folder / CHOOSER_FILE).write_text(json.dumps(value, indent=1, sort_keys=True))


def learned_languages(videos: Mapping[str, int]) -> frozenset[str] | None:
    """The languages in which a model may write titles, by the number of videos that it learned from.

    Those of ten videos or more (some eighty titles; chosen, not measured), and in any case the most frequent one, so
    that a small set in one language counts. None, for any language, where none could be told.
    """
    if not videos:
        return None
    return frozenset({max(videos, key=lambda language: videos[language])} | {k for k, n in videos.items() if n >= _FEW})


@dataclass(frozen=True)
class LoadedAdapter:
    """A finetuned model ready to predict; `control` is a head fitted the same way without the words."""

    predictor: Predictor
    control: Predictor


def load_adapter(folder: Path, base_models: Path) -> LoadedAdapter:
    """Load the adapter in `folder` on its base model (LoRA merged into the weights).

    `base_models` is where converted base models are kept. Raises InputError when the folder is no adapter of ours,
    or was made with another base model or prompt than this installation has.
    """
    try:
        about = json.loads((folder / CHOOSER_FILE).read_text())
        if not isinstance(about, dict) or "schema_version" not in about:
            raise ValueError("it is not what lora_adapter writes")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{folder} is not an adapter of this project: {CHOOSER_FILE} cannot be read ({why})",
            "Give the folder that lora_adapter wrote",
        ) from error
    if about["schema_version"] != _SCHEMA_VERSION:
        raise InputError(
            f"{folder} has schema version {about['schema_version']}, this installation reads {_SCHEMA_VERSION}",
            "Use the version of chapter-assets it was trained with, or finetune again",
        )
    import torch
    from peft import PeftModel
    from safetensors import SafetensorError

    base = find_base_model(about["base_model"]["name"], base_models)
    if base.hash != about["base_model"]["hash"]:
        raise InputError(
            f"{folder} was trained on {base.name} {about['base_model']['hash'][:12]}, here it is {base.hash[:12]}",
            "Install the version of the base model that the adapter was trained on",
        )
    writes_times = about["method"] == "generate"
    tokenizer = load_tokenizer(base)
    builder = PromptBuilder(tokenizer, timed=writes_times)
    if builder.fingerprint != about["prompt"]:
        raise InputError(
            f"{folder} was trained with another prompt than this version writes",
            "Use the version of chapter-assets it was trained with, or finetune again",
        )
    try:
        merged = PeftModel.from_pretrained(load_causal_lm(base, torch.float32), folder).merge_and_unload()
        head = None if writes_times else BoundaryHead.load(folder / _HEAD_FILE)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"The weights in {folder} cannot be read: {error}", "Copy or train that adapter again"
        ) from error
    engine = TransformersEngine(merged.to(fast_dtype()), tokenizer)
    budget, overlap = about["window_tokens"], about["window_overlap"]
    languages = learned_languages(about["languages"])
    bounds, control_priors = np.array(about["control_bounds"], np.float32), Priors(**about["control_priors"])
    control = Predictor(PositionChooser(about["control"], bounds, control_priors), LexicalTitler())
    if head is None:
        generate = GenerateChooser(engine, builder, budget, overlap)
        return LoadedAdapter(Predictor(generate, LexicalTitler(), languages), control)
    chooser = HeadChooser(engine, head, builder, budget, overlap, Priors(**about["priors"]))
    return LoadedAdapter(Predictor(chooser, ModelTitler(engine, builder), languages), control)

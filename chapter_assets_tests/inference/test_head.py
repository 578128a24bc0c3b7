from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chapter_assets.inference.engine import TransformersEngine, read_blocks
from chapter_assets.inference.head import (
    COHESION,
    BoundaryHead,
    States,
    cohesion,
    head_inputs,
    read_states,
    score_control,
)
from chapter_assets.windows.build import cut_transcript
from chapter_assets.windows.cutting import most_central
from chapter_assets.windows.features import NAMES, feature_bounds, position_features
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets_tests.made_up import long_transcript, transcript

POSITIONS = len(NAMES) + len(NAMES) * (len(NAMES) + 1) // 2
ANYTHING = np.array([[-1e9], [1e9]], np.float32).repeat(len(NAMES), axis=1)


def topics(*lengths: int, hidden: int = 8, noise: float = 0.1) -> np.ndarray:
    """Centred states of segments whose topic changes after each of the lengths."""
    rng = np.random.default_rng(0)
    states = np.concatenate([np.tile(rng.normal(size=hidden), (n, 1)) for n in lengths])
    states = states + noise * rng.normal(size=states.shape)
    return (states - states.mean(axis=0)).astype(np.float32)


def random_head(hidden: int, seed: int = 0) -> BoundaryHead:
    rng = np.random.default_rng(seed)
    sizes = (hidden, hidden, POSITIONS + COHESION + 2 * hidden + 1)
    centre, width, weights = (rng.normal(scale=0.1, size=n).astype(np.float32) for n in sizes)
    return BoundaryHead(centre, np.abs(width) + 1, weights, ANYTHING)


def random_control(seed: int = 0) -> list[float]:
    return list(np.random.default_rng(seed).normal(scale=0.1, size=POSITIONS + 1))


def test_cohesion_is_low_where_the_text_changes() -> None:
    found = cohesion(topics(12, 9, 14), range(35))
    for column in range(4):  # 1, 2, 4, 8 segments on each side
        for change in (12, 21):
            around = range(change - 4, change + 5)
            assert min(around, key=lambda i: found[i, column]) == change
    halves = cohesion(topics(12, 14), range(26))
    assert (halves[1:12, 10] > halves[12:, 10].max()).all()  # the segment against all before it


def test_cohesion_is_a_cosine_for_each_segment_and_the_first_has_nothing_before_it() -> None:
    found = cohesion(topics(5, 5), range(10))
    assert found.shape == (10, COHESION)
    assert found.dtype == np.float32
    assert (np.abs(found) <= 1 + 1e-5).all()
    assert (np.delete(found[0], COHESION - 2) == 0).all()
    assert cohesion(topics(1), [0]).shape == (1, COHESION)
    assert np.isfinite(cohesion(np.zeros((4, 8), np.float32), range(4))).all()


def test_cohesion_compares_as_many_segments_on_each_side_as_the_scale_says() -> None:
    mean = topics(6, 6)
    found = cohesion(mean, range(len(mean)))
    for column, k in enumerate((1, 2, 4, 8, 16)):
        for i in (1, 3, 6, 11):
            a, b = mean[max(i - k, 0) : i].sum(axis=0), mean[i : i + k].sum(axis=0)
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            assert found[i, column] == pytest.approx(cosine, abs=1e-4)


def test_position_features_are_finite_and_do_not_look_at_the_words() -> None:
    for starts, duration in (([0.0], 0.5), ([0.0, 0.0, 0.0], 10.0), ([3.0, 9.0, 4000.0], 30_000.0)):
        one = transcript(starts, ["a"] * len(starts), duration)
        other = transcript(starts, ["words " * 50] * len(starts), duration)
        found = position_features(one.segments, duration)
        assert found.shape == (len(starts), POSITIONS)
        assert np.isfinite(found).all()
        assert np.array_equal(found, position_features(other.segments, duration))


def test_features_stay_within_what_a_head_was_fitted_on() -> None:
    short, long = transcript([0, 5, 11, 30]), transcript(range(0, 30_000, 7), duration=30_000)
    bounds = feature_bounds([(short.segments, short.duration)])
    fitted_on = position_features(short.segments, short.duration)
    assert np.array_equal(position_features(short.segments, short.duration, bounds), fitted_on)
    found = position_features(long.segments, long.duration, bounds)
    plain = len(NAMES)
    assert (found[:, :plain] >= bounds[0]).all()
    assert (found[:, :plain] <= bounds[1]).all()
    assert np.abs(found).max() <= np.abs(fitted_on).max() ** 2 + 1
    assert np.abs(position_features(long.segments, long.duration)).max() > np.abs(found).max()


def test_a_head_weighs_positions_cohesion_and_states_of_every_segment() -> None:
    video, rng = transcript([0, 5, 11, 30]), np.random.default_rng(0)
    states = States(*(rng.normal(size=(4, 6)).astype(np.float32) for _ in range(2)))
    head = random_head(6)
    inputs = head.inputs(video, states)
    assert inputs.shape == (4, POSITIONS + COHESION + 12)
    assert np.array_equal(inputs, head_inputs(video, states, head.centre, head.width, ANYTHING))
    assert np.array_equal(inputs[:, :POSITIONS], position_features(video.segments, video.duration))
    standard = (states.mean - head.centre) / head.width
    assert np.allclose(
        inputs[:, POSITIONS : POSITIONS + COHESION], cohesion(standard, [s.start for s in video.segments])
    )
    assert np.array_equal(inputs[:, -12:-6], states.mean)
    assert np.array_equal(inputs[:, -6:], states.last)
    assert np.allclose(head.score(video, states), inputs @ head.weights[:-1] + head.weights[-1], atol=1e-5)


def test_the_control_scores_without_the_words() -> None:
    control = random_control()
    one, other = transcript([0, 5, 11], ["a", "b", "c"]), transcript([0, 5, 11], ["x y", "z", "w " * 40])
    scores = score_control(one, control, ANYTHING)
    assert np.array_equal(scores, score_control(other, control, ANYTHING))
    positions = position_features(one.segments, one.duration)
    assert np.allclose(scores, positions @ np.array(control[:-1]) + control[-1])
    assert len(set(scores)) == 3


def test_a_head_that_was_saved_scores_the_same(tmp_path: Path) -> None:
    video, rng = transcript([0, 5, 11]), np.random.default_rng(0)
    states = States(*(rng.normal(size=(3, 6)).astype(np.float32) for _ in range(2)))
    head = random_head(6)
    head.save(tmp_path / "head.safetensors")
    again = BoundaryHead.load(tmp_path / "head.safetensors")
    assert np.array_equal(head.score(video, states), again.score(video, states))


def test_an_engine_reads_what_the_whole_model_knows_where_reading_ends(tiny_engine: TransformersEngine) -> None:
    import torch

    builder = PromptBuilder(tiny_engine.tokenizer, timed=False)
    lines = builder.lines(long_transcript(6).segments)
    prompt = builder.window("A video", lines, first=0)
    spans = [(end + 1 - len(line), end + 1) for end, line in zip(prompt.line_ends, lines, strict=True)]
    mean, last = tiny_engine.read(prompt.ids, spans)
    blocks = tiny_engine.model.config.num_hidden_layers
    assert read_blocks(blocks) < blocks
    with torch.inference_mode():
        layers = tiny_engine.model(torch.tensor([prompt.ids]), output_hidden_states=True).hidden_states
    half = layers[read_blocks(blocks)][0].numpy()
    assert np.allclose(mean, np.stack([half[a:b].mean(axis=0) for a, b in spans]), atol=1e-5)
    assert np.allclose(last, np.stack([half[b - 1] for _, b in spans]), atol=1e-5)


def test_reading_does_not_change_the_model_that_writes(tiny_engine: TransformersEngine) -> None:
    ids = tiny_engine.tokenizer("so now we take", add_special_tokens=False)["input_ids"]
    before = tiny_engine.write(ids, 12)
    tiny_engine.read(ids, [(0, len(ids))])
    assert tiny_engine.write(ids, 12) == before
    assert len(tiny_engine.model.model.layers) == tiny_engine.model.config.num_hidden_layers


def counting_engine(tokenizer: Any) -> TransformersEngine:
    """A model that writes, after each token, the one with the next number; after the last one the first."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=8,
            num_hidden_layers=2,
            num_attention_heads=1,
            num_key_value_heads=1,
            tie_word_embeddings=False,
        )
    )
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.normal_()
        model.lm_head.weight.copy_(model.model.embed_tokens.weight.roll(1, dims=0))
    return TransformersEngine(model, tokenizer)


def test_writing_stops_at_the_end_of_the_turn_or_at_the_most_tokens(tiny_engine: TransformersEngine) -> None:
    tokenizer = tiny_engine.tokenizer
    engine, size = counting_engine(tokenizer), len(tokenizer)
    assert engine.write([5, 20], 4) == tokenizer.decode([21, 22, 23, 24])
    assert tokenizer.eos_token_id == 2
    assert engine.write([5, size - 4], 50) == tokenizer.decode([size - 3, size - 2, size - 1])


@pytest.mark.parametrize("budget", [250, 4000])
def test_each_segments_states_come_from_the_window_that_shows_most_around_it(
    tiny_engine: TransformersEngine, budget: int
) -> None:
    builder, video = PromptBuilder(tiny_engine.tokenizer, timed=False), long_transcript(50)
    states = read_states(tiny_engine, builder, video, budget, 0.25)
    assert states.mean.shape == states.last.shape == (50, tiny_engine.model.config.hidden_size)
    windowed = cut_transcript(builder, video, budget, 0.25)
    owner = most_central(windowed.ranges)
    assert (len(windowed.ranges) == 1) == (budget == 4000)
    for index in range(50):
        segments = windowed.ranges[owner[index]]
        lines = windowed.lines[segments.start : segments.stop]
        prompt = builder.window(video.title, lines, segments.start)
        end = prompt.line_ends[index - segments.start] + 1
        mean, last = tiny_engine.read(prompt.ids, [(end - len(windowed.lines[index]), end)])
        assert np.allclose(states.mean[index], mean[0], atol=1e-5)
        assert np.allclose(states.last[index], last[0], atol=1e-5)

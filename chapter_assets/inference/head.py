"""The boundary head: scores each segment from numbers about it and from what the model read there.

The language model reads a window once, through the lower three fifths of its blocks. Of each segment it keeps two
hidden states: their mean over the segment, and the last. The head is linear in them, in the position features, and
in how alike the text before and after the segment is (its cohesion). On short videos middle blocks beat the
last one by far (benchmarks/quality/study.py); a LoRA trained through a head, tried before, did no better.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chapter_assets.inference.engine import Engine
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.windows.build import cut_transcript
from chapter_assets.windows.cutting import most_central
from chapter_assets.windows.features import position_features
from chapter_assets.windows.prompts import PromptBuilder

Floats = NDArray[np.float32]

_SCALES = (1, 2, 4, 8, 16)  # segments on each side whose states are compared
_SPANS = (15.0, 30.0, 60.0, 120.0, 240.0)  # s, likewise: segments of one recognizer are longer than another's
COHESION = len(_SCALES) + len(_SPANS) + 3  # features


@dataclass(frozen=True)
class States:
    """What the model read: `mean` and `last`, each (segments, hidden)."""

    mean: Floats
    last: Floats


def read_states(engine: Engine, builder: PromptBuilder, transcript: Transcript, budget: int, overlap: float) -> States:
    """Read a transcript window by window; each segment's states come from the window that shows most around it."""
    windowed = cut_transcript(builder, transcript, budget, overlap)
    owner = most_central(windowed.ranges)
    means: list[Floats] = [np.empty(0, np.float32)] * len(owner)
    lasts = list(means)
    for number, segments in enumerate(windowed.ranges):
        lines = windowed.lines[segments.start : segments.stop]
        prompt = builder.window(transcript.title, lines, segments.start)
        spans = [(end + 1 - len(line), end + 1) for end, line in zip(prompt.line_ends, lines, strict=True)]
        mean, last = engine.read(prompt.ids, spans)
        for row, index in enumerate(segments):
            if owner[index] == number:
                means[index], lasts[index] = mean[row], last[row]
    return States(np.stack(means), np.stack(lasts))


def cohesion(mean: Floats, starts: Sequence[float]) -> Floats:
    """How alike the text before and after each segment's start is: shape (segments, COHESION).

    Cosines of the summed states of either side's k segments, for several k, and of either side's `span` seconds, for
    several spans; of all before with the segment, of all after with it, of all before with all after. `mean` has to
    be centred, or all cosines are near 1; `starts` in seconds.
    """
    n = len(mean)
    index = np.arange(n)
    total = np.concatenate([np.zeros_like(mean[:1]), np.cumsum(mean, axis=0)])
    bounds = [(np.maximum(index - k, 0), np.minimum(index + k, n)) for k in _SCALES]
    for span in _SPANS:
        first, stop = np.searchsorted(starts, np.subtract(starts, span)), np.searchsorted(starts, np.add(starts, span))
        # At least the segment itself and the one before it.
        bounds.append((np.minimum(first, np.maximum(index - 1, 0)), np.maximum(stop, index + 1)))
    columns = [_cosine(total[index] - total[first], total[stop] - total[index]) for first, stop in bounds]
    before, after = total[index], total[n] - total[index]
    columns += [_cosine(before, mean), _cosine(after, mean), _cosine(before, after)]
    return np.stack(columns, axis=1)


def _cosine(a: Floats, b: Floats) -> Floats:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: Floats = ((a * b).sum(axis=1) / np.maximum(norms, 1e-6)).astype(np.float32)
    return cosines


@dataclass(frozen=True)
class BoundaryHead:
    """The weights of the head; all float32 arrays.

    `centre`, `width` (hidden,) standardize the mean states before their cohesion is taken. `weights`: one each for
    position features, cohesion, mean and last states, then the bias. `bounds`: of the position features, as fitted on.
    """

    centre: Floats
    width: Floats
    weights: Floats
    bounds: Floats

    def inputs(self, transcript: Transcript, states: States) -> Floats:
        """What the whole head weighs: shape (segments, features)."""
        return head_inputs(transcript, states, self.centre, self.width, self.bounds)

    def score(self, transcript: Transcript, states: States) -> NDArray[np.float64]:
        """Logit that a chapter starts at each segment."""
        return (self.inputs(transcript, states) @ self.weights[:-1] + self.weights[-1]).astype(np.float64)

    def save(self, path: Path) -> None:
        """Write the weights as safetensors."""
        from safetensors.numpy import save_file

        save_file({field.name: getattr(self, field.name) for field in fields(self)}, path)

    @classmethod
    def load(cls, path: Path) -> "BoundaryHead":
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        return cls(**load_file(path))


def head_inputs(transcript: Transcript, states: States, centre: Floats, width: Floats, bounds: Floats) -> Floats:
    """Position features, cohesion, mean and last states of every segment, side by side."""
    alike = cohesion((states.mean - centre) / width, [s.start for s in transcript.segments])
    positions = position_features(transcript.segments, transcript.duration, bounds)
    return np.concatenate([positions, alike, states.mean, states.last], axis=1)


def score_control(transcript: Transcript, control: Sequence[float], bounds: Floats) -> NDArray[np.float64]:
    """Logits of the text-free control: `control` weighs the position features within `bounds`, then comes the bias."""
    positions = position_features(transcript.segments, transcript.duration, bounds).astype(np.float64)
    return positions @ np.asarray(control[:-1]) + control[-1]

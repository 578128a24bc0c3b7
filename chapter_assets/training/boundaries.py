"""Fitting the boundary head and its text-free control, and the decoder's priors, from read states."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chapter_assets.inference.decoder import Priors, fit_priors
from chapter_assets.inference.head import BoundaryHead, Floats, States, head_inputs
from chapter_assets.training.examples import by_lesson, gold_chapters, whole_video
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.windows.features import feature_bounds, position_features
from chapter_assets.windows.window import Window

_COMPONENTS = 64  # of the states, by PCA: 32 and 128 were worse on 191 short videos
_STRENGTHS = (0.03, 0.1, 0.3, 1.0)  # inverse regularization of the logistic regression, chosen by cross-fitting
_STATE_SCALE = 0.3  # of the components against position and cohesion: how much less they are trusted
_FOLDS = 5

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class ReadVideo:
    """A video, what the model read of it (if it did), and which segments start a chapter (`seen`: anyone looked).

    `offsets` (s): from such a segment's start to the gold start that it stands for.
    """

    transcript: Transcript
    channel: str
    states: States | None
    starts_chapter: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    weight: float
    offsets: Sequence[float] = ()


@dataclass(frozen=True)
class FittedHead:
    """A head, the decoder's priors for its scores, and its loss on held-out channels (nats a segment)."""

    head: BoundaryHead
    priors: Priors
    loss: float


@dataclass(frozen=True)
class FittedControl:
    """The same for the text-free control: weights of the position features, then the bias, and their bounds."""

    weights: list[float]
    bounds: Floats
    priors: Priors
    loss: float


def read_videos(
    windows: Sequence[Window], read: Callable[[Transcript], States] | None, note: Callable[[str], None]
) -> list[ReadVideo]:
    """The videos of `windows`; `read` is how the model reads one when it serves (None: nobody reads)."""
    groups = by_lesson(windows)
    found = []
    for number, group in enumerate(groups, start=1):
        segments = whole_video(group)
        plain = tuple(s.plain for s in segments)
        transcript = Transcript(group[0].video_id, group[0].title, group[0].duration, plain)
        states = read(transcript) if read is not None else None
        labels = np.array([s.starts_chapter for s in segments])
        seen = np.array([s.seen for s in segments])
        starts = (s.start for s in segments if s.starts_chapter)
        # An opening chapter at 0 is no boundary that anyone heard.
        offsets = [c.start - start for c, start in zip(gold_chapters(group), starts, strict=True) if c.start >= 1]
        found.append(ReadVideo(transcript, group[0].channel, states, labels, seen, group[0].weight, offsets))
        if read is not None and (number % 25 == 0 or number == len(groups)):
            note(f"read {number} of {len(groups)} videos")
    return found


def fit_head(videos: Sequence[ReadVideo]) -> FittedHead:
    """Fit the head by logistic regression; regularization, loss and priors come from cross-fitting by channel.

    The states pass through PCA while fitting; its rotation is folded into the weights afterwards.
    """
    from sklearn.decomposition import PCA

    means = np.concatenate([_states(v).mean for v in videos])
    centre, width = means.mean(axis=0), means.std(axis=0) + 1e-3
    bounds = _bounds(videos)

    def whole(video: ReadVideo) -> Floats:
        return head_inputs(video.transcript, _states(video), centre, width, bounds)

    states = np.concatenate([np.concatenate([_states(v).mean, _states(v).last], axis=1) for v in videos])
    pca = PCA(min(_COMPONENTS, *states.shape), random_state=0).fit(states)
    spread = np.sqrt(pca.explained_variance_) + 1e-6
    rotation = (pca.components_ / spread[:, None] * _STATE_SCALE).T  # (states, components)

    def reduced(video: ReadVideo) -> Floats:
        x = whole(video)
        plain = x.shape[1] - states.shape[1]  # columns before the states
        return np.concatenate([x[:, :plain], (x[:, plain:] - pca.mean_) @ rotation], axis=1).astype(np.float32)

    fitted = _logistic(videos, [reduced(v) for v in videos])
    plain = len(fitted.weights) - rotation.shape[1]
    states_weight = rotation @ fitted.weights[plain:]
    weights = np.concatenate([fitted.weights[:plain], states_weight, [fitted.bias - pca.mean_ @ states_weight]])
    head = BoundaryHead(centre.astype(np.float32), width.astype(np.float32), weights.astype(np.float32), bounds)
    return FittedHead(head, _priors(fitted.held_out, videos), fitted.loss)


def fit_control(videos: Sequence[ReadVideo]) -> FittedControl:
    """Fit the text-free control the same way, on everything but the words."""
    fitted = _logistic(videos, [position_features(v.transcript.segments, v.transcript.duration) for v in videos])
    weights = [*map(float, fitted.weights), fitted.bias]
    return FittedControl(weights, _bounds(videos), _priors(fitted.held_out, videos), fitted.loss)


def _bounds(videos: Sequence[ReadVideo]) -> Floats:
    return feature_bounds((v.transcript.segments, v.transcript.duration) for v in videos)


def _states(video: ReadVideo) -> States:
    if video.states is None:
        raise ValueError(f"{video.transcript.video_id} was not read")
    return video.states


def _priors(scores: Sequence[NDArray[np.float64]], videos: Sequence[ReadVideo]) -> Priors:
    seen = [s[v.seen] for s, v in zip(scores, videos, strict=True)]
    offsets = [offset for v in videos for offset in v.offsets]
    whole = [v for v in videos if v.seen.all()]  # of a half that nobody looked at, the chapters are not known
    return fit_priors(seen, [v.starts_chapter[v.seen] for v in videos], [chapter_lengths(v) for v in whole], offsets)


@dataclass(frozen=True)
class _Fitted:
    """A regression on all videos; and for each video the scores that it has from videos of other channels."""

    weights: Scores
    bias: float
    held_out: list[Scores]
    loss: float


def _logistic(videos: Sequence[ReadVideo], inputs: Sequence[Floats]) -> _Fitted:
    """The regression whose regularization gives the lowest loss on held-out channels.

    Priors from such scores too, of all videos, and a regression on all of them: against a validation part of a fifth
    for both, +1.3 F1 on 191 short videos.
    """
    fold = _folds(videos)
    tried: list[tuple[float, float, list[Scores]]] = []
    for strength in _STRENGTHS:
        held_out = [np.zeros(0)] * len(videos)
        for held in np.unique(fold):
            rest = np.flatnonzero(fold != held) if len(np.unique(fold)) > 1 else np.arange(len(videos))
            slope, bias = _regression(videos, inputs, rest, strength)
            for index in map(int, np.flatnonzero(fold == held)):
                held_out[index] = inputs[index] @ slope + bias
        tried.append((_loss(videos, held_out), strength, held_out))
    loss, strength, held_out = min(tried, key=lambda found: found[0])
    slope, bias = _regression(videos, inputs, np.arange(len(videos)), strength)
    return _Fitted(slope, bias, held_out, loss)


def _folds(videos: Sequence[ReadVideo]) -> NDArray[np.intp]:
    """A fold for each video: whole channels, or single videos where there is one channel only."""
    names, group = np.unique([v.channel for v in videos], return_inverse=True)
    if len(names) == 1:
        group = np.arange(len(videos))
    order = np.random.default_rng(0).permutation(group.max() + 1)
    folds: NDArray[np.intp] = order[group] % _FOLDS
    return folds


def _regression(
    videos: Sequence[ReadVideo], inputs: Sequence[Floats], chosen: NDArray[np.intp], strength: float
) -> tuple[Scores, float]:
    """Slope and bias of the logistic regression on the seen segments of the chosen videos."""
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate([inputs[i][videos[i].seen] for i in chosen])
    y = np.concatenate([videos[i].starts_chapter[videos[i].seen] for i in chosen])
    weight = np.concatenate([np.full(videos[i].seen.sum(), videos[i].weight) for i in chosen])
    if y.all() or not y.any():  # nothing to tell apart: the base rate, whatever the features
        return np.zeros(x.shape[1]), 10.0 if len(y) and y.all() else -10.0
    model = LogisticRegression(C=strength, solver="newton-cholesky").fit(x, y, sample_weight=weight)
    return model.coef_[0].astype(np.float64), float(model.intercept_[0])


def _loss(videos: Sequence[ReadVideo], scores: Sequence[Scores]) -> float:
    """Weighted mean over the seen segments (nats)."""
    each = [np.logaddexp(0, np.where(v.starts_chapter, -s, s))[v.seen] for v, s in zip(videos, scores, strict=True)]
    weight = sum(v.weight * v.seen.sum() for v in videos)
    return float(sum(v.weight * loss.sum() for v, loss in zip(videos, each, strict=True)) / max(weight, 1e-9))


def chapter_lengths(video: ReadVideo) -> NDArray[np.float64]:
    """Lengths (s) of the pieces that the chapter starts cut the video into, the piece before the first included."""
    starts = [s.start for s, first in zip(video.transcript.segments, video.starts_chapter, strict=True) if first]
    return np.diff([0.0, *(s for s in starts if s >= 1), video.transcript.duration])

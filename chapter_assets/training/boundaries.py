"""Fitting the boundary head and its text-free control, and the decoder's priors, from read states."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chapter_assets.inference.decoder import Priors, fit_priors
from chapter_assets.inference.head import BoundaryHead, Floats, States, head_inputs, score_control
from chapter_assets.training.examples import by_video, whole_video
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.windows.features import position_features
from chapter_assets.windows.window import Window

_COMPONENTS = 64  # of the states, by PCA: 32 and 128 were worse on 191 short videos and 11 podcasts
_STRENGTHS = (0.03, 0.1, 0.3, 1.0)  # inverse regularization of the logistic regression, chosen on validation
_STATE_SCALE = 0.3  # of the components against position and cohesion: how much less they are trusted


@dataclass(frozen=True)
class ReadVideo:
    """A video, what the model read of it (if it did), and which segments start a chapter (`seen`: anyone looked)."""

    transcript: Transcript
    states: States | None
    starts_chapter: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    weight: float


@dataclass(frozen=True)
class FittedHead:
    """A head, the decoder's priors for its scores, and its loss on the judged videos (nats a segment)."""

    head: BoundaryHead
    priors: Priors
    loss: float


@dataclass(frozen=True)
class FittedControl:
    """The same for the text-free control: weights of the position features, then the bias."""

    weights: list[float]
    priors: Priors
    loss: float


def read_videos(
    windows: Sequence[Window], read: Callable[[Transcript], States] | None, note: Callable[[str], None]
) -> list[ReadVideo]:
    """The videos of `windows`; `read` is how the model reads one when it serves (None: nobody reads)."""
    groups = by_video(windows)
    found = []
    for number, group in enumerate(groups, start=1):
        segments = whole_video(group)
        plain = tuple(s.plain for s in segments)
        transcript = Transcript(group[0].video_id, group[0].title, group[0].duration, plain)
        states = read(transcript) if read is not None else None
        labels = np.array([s.starts_chapter for s in segments])
        seen = np.array([s.seen for s in segments])
        found.append(ReadVideo(transcript, states, labels, seen, group[0].weight))
        if read is not None and (number % 25 == 0 or number == len(groups)):
            note(f"read {number} of {len(groups)} videos")
    return found


def fit_head(train: Sequence[ReadVideo], validation: Sequence[ReadVideo]) -> FittedHead:
    """Fit the head by logistic regression on `train`; `validation` picks the regularization and gives the priors.

    The states pass through PCA while fitting; its rotation is folded into the weights afterwards.
    """
    from sklearn.decomposition import PCA

    means = np.concatenate([_states(v).mean for v in train])
    centre, width = means.mean(axis=0), means.std(axis=0) + 1e-3

    def whole(video: ReadVideo) -> Floats:
        return head_inputs(video.transcript, _states(video), centre, width)

    inputs = np.concatenate([whole(v) for v in train])
    plain = inputs.shape[1] - 2 * means.shape[1]  # columns before the states
    pca = PCA(min(_COMPONENTS, *inputs[:, plain:].shape), random_state=0).fit(inputs[:, plain:])
    spread = np.sqrt(pca.explained_variance_) + 1e-6
    rotation = (pca.components_ / spread[:, None] * _STATE_SCALE).T  # (states, components)

    def reduced(video: ReadVideo) -> Floats:
        x = whole(video)
        return np.concatenate([x[:, :plain], (x[:, plain:] - pca.mean_) @ rotation], axis=1).astype(np.float32)

    coefficients, bias, loss = _logistic(train, validation, reduced)
    states_weight = rotation @ coefficients[plain:]
    weights = np.concatenate([coefficients[:plain], states_weight, [bias - pca.mean_ @ states_weight]])
    head = BoundaryHead(centre.astype(np.float32), width.astype(np.float32), weights.astype(np.float32))
    scores = [head.score(v.transcript, _states(v)) for v in validation]
    return FittedHead(head, _priors(scores, validation), loss)


def fit_control(train: Sequence[ReadVideo], validation: Sequence[ReadVideo]) -> FittedControl:
    """Fit the text-free control the same way, on everything but the words."""

    def positions(video: ReadVideo) -> Floats:
        return position_features(video.transcript.segments, video.transcript.duration)

    coefficients, bias, loss = _logistic(train, validation, positions)
    weights = [*map(float, coefficients), bias]
    scores = [score_control(v.transcript, weights) for v in validation]
    return FittedControl(weights, _priors(scores, validation), loss)


def _states(video: ReadVideo) -> States:
    if video.states is None:
        raise ValueError(f"{video.transcript.video_id} was not read")
    return video.states


def _priors(scores: Sequence[NDArray[np.float64]], videos: Sequence[ReadVideo]) -> Priors:
    seen = [s[v.seen] for s, v in zip(scores, videos, strict=True)]
    whole = [v for v in videos if v.seen.all()]  # of a half that nobody looked at, the chapters are not known
    return fit_priors(seen, [v.starts_chapter[v.seen] for v in videos], [chapter_lengths(v) for v in whole])


def _logistic(
    train: Sequence[ReadVideo], judged: Sequence[ReadVideo], inputs: Callable[[ReadVideo], Floats]
) -> tuple[NDArray[np.float64], float, float]:
    """Weights and bias of the regression with the lowest loss on the judged videos, and that loss."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    def stack(videos: Sequence[ReadVideo]) -> tuple[Floats, NDArray[np.bool_], NDArray[np.float64]]:
        x = np.concatenate([inputs(v)[v.seen] for v in videos])
        y = np.concatenate([v.starts_chapter[v.seen] for v in videos])
        return x, y, np.concatenate([np.full(v.seen.sum(), v.weight) for v in videos])

    (x, y, weight), (held_x, held_y, held_weight) = stack(train), stack(judged)
    if y.all() or not y.any():  # nothing to tell apart: the base rate, whatever the features
        return np.zeros(x.shape[1]), 10.0 if y.all() else -10.0, 0.0
    best: tuple[float, LogisticRegression] | None = None
    for strength in _STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=2000).fit(x, y, sample_weight=weight)
        chances = model.predict_proba(held_x)[:, 1]
        loss = float(log_loss(held_y, chances, labels=[False, True], sample_weight=held_weight))
        if best is None or loss < best[0]:
            best = loss, model
    loss, model = best  # type: ignore[misc]  # _STRENGTHS is not empty
    return model.coef_[0], float(model.intercept_[0]), loss


def chapter_lengths(video: ReadVideo) -> NDArray[np.float64]:
    """Lengths (s) of the pieces that the chapter starts cut the video into, the piece before the first included."""
    starts = [s.start for s, first in zip(video.transcript.segments, video.starts_chapter, strict=True) if first]
    return np.diff([0.0, *(s for s in starts if s >= 1), video.transcript.duration])

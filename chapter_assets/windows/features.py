"""What can be known of a segment without reading a word: pauses, positions, lengths, as numbers into the head."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from chapter_assets.transcripts.segments import Segment

Floats = NDArray[np.float32]

NAMES = (
    "pause_before",
    "pause_after",
    "length",
    "length_before",
    "position",
    "since_start",
    "until_end",
    "video_length",
    "is_first",
    "is_second",
)
# Rough centre and width of each on public data, so that the head sees numbers around -1 to 1 in any corpus.
_CENTRE = np.array([0.2, 0.2, 1.5, 1.5, 0.5, 5.0, 5.0, 6.0, 0.0, 0.0])
_WIDTH = np.array([0.4, 0.4, 0.6, 0.6, 0.3, 1.5, 1.5, 1.5, 0.3, 0.3])


def position_features(segments: Sequence[Segment], duration: float, bounds: Floats | None = None) -> Floats:
    """For all segments of one video, in order: the features of NAMES and their products by pairs; `duration` in s.

    Shape (segments, n + n (n + 1) / 2) with n = len(NAMES). Pauses and lengths are log(1 + seconds); `position` is
    the share of the video before the segment. The products let a linear model bend: +1.6 F1 for the control. They let
    it bend far away from what it was fitted on, too, so features are kept within `bounds` (feature_bounds).
    """
    plain = _plain(segments, duration)
    if bounds is not None:
        plain = np.clip(plain, bounds[0], bounds[1])
    left, right = np.triu_indices(len(NAMES))
    return np.concatenate([plain, plain[:, left] * plain[:, right]], axis=1)


def feature_bounds(videos: Iterable[tuple[Sequence[Segment], float]]) -> Floats:
    """The least and the greatest of each feature over (segments, duration s) of all videos: shape (2, len(NAMES))."""
    plain = np.concatenate([_plain(segments, duration) for segments, duration in videos])
    return np.stack([plain.min(axis=0), plain.max(axis=0)])


def _plain(segments: Sequence[Segment], duration: float) -> Floats:
    starts = np.array([s.start for s in segments])
    ends = np.array([s.end for s in segments])
    before = starts - np.concatenate([[0.0], ends[:-1]])
    after = np.concatenate([before[1:], [duration - ends[-1]]])
    length = np.log1p(np.clip(ends - starts, 0, None))
    index = np.arange(len(segments))
    columns = [
        np.log1p(np.clip(before, 0, 60)),
        np.log1p(np.clip(after, 0, 60)),
        length,
        np.concatenate([[0.0], length[:-1]]),
        starts / duration,
        np.log1p(starts),
        np.log1p(np.clip(duration - starts, 0, None)),
        np.full(len(segments), np.log1p(duration)),
        index == 0,
        index == 1,
    ]
    plain: Floats = ((np.stack(columns, axis=1) - _CENTRE) / _WIDTH).astype(np.float32)
    return plain

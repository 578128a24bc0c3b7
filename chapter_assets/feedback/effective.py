"""Which of many batches' records count: once each, a user's last word, and not too many from one place."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

_TAUGHT_FIRST = {"edit": 0, "accept": 1, "reject": 2}  # where there is room for some only


@dataclass(frozen=True, slots=True, order=True)
class Verdict:
    """What decides whether a record counts; (batch, feedback_id) names it. Sorts by time, then by name."""

    created_at: datetime
    batch: str
    feedback_id: str
    impression_id: str
    user: str
    video_id: str
    channel: str
    verdict: str

    @property
    def name(self) -> tuple[str, str]:
        """(batch, feedback_id)."""
        return self.batch, self.feedback_id


@dataclass(frozen=True)
class Effective:
    """The (batch, feedback_id) of the records that count, and why each of the others does not."""

    counted: frozenset[tuple[str, str]]
    left_out: dict[tuple[str, str], str]


def read_verdicts(feedback: pa.Table, batch: str) -> list[Verdict]:
    """The records of one batch's feedback table."""
    columns = [name for name in Verdict.__dataclass_fields__ if name != "batch"]
    return [Verdict(batch=batch, **row) for row in feedback.select(columns).to_pylist()]


def effective(verdicts: Iterable[Verdict], *, per_user: int, per_video: int, per_channel: int) -> Effective:
    """Which records of many batches count; at most so many of each user, video and channel. Any order gives the same.

    Reasons for the others, the first that holds: `sent_again` (an earlier record has this feedback_id), `replaced`
    (the same user said something later of the same impression), `cap_user`, `cap_video`, `cap_channel`. Under a cap
    edits come before accepts before rejects, and older before newer, so that what comes later moves little.
    """
    left_out: dict[tuple[str, str], str] = {}
    firsts: dict[str, Verdict] = {}
    for verdict in sorted(set(verdicts)):
        if firsts.setdefault(verdict.feedback_id, verdict) is not verdict:
            left_out[verdict.name] = "sent_again"
    last_words: dict[tuple[str, str], Verdict] = {}
    for verdict in firsts.values():
        said_of = (verdict.user, verdict.impression_id)
        if said_of in last_words:
            left_out[last_words[said_of].name] = "replaced"
        last_words[said_of] = verdict
    taken: Counter[tuple[str, str]] = Counter()
    counted = set()
    for verdict in sorted(last_words.values(), key=lambda v: (_TAUGHT_FIRST[v.verdict], v)):
        places = {
            ("cap_user", verdict.user): per_user,
            ("cap_video", verdict.video_id): per_video,
            ("cap_channel", verdict.channel): per_channel,
        }
        full = next((cap for (cap, place), most in places.items() if taken[cap, place] >= most), None)
        if full is not None:
            left_out[verdict.name] = full
        else:
            counted.add(verdict.name)
            taken.update(places.keys())
    return Effective(frozenset(counted), left_out)

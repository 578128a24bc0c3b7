"""Writes data/feedback/sample-*.jsonl: what three users might have said of chapters for the sample corpus.

Their edits are the corpus's own lists, as far as each user looked: `python -m chapter_assets_tests.feedback.samples`.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chapter_assets.transcripts.vidchapters import AsrRecord, JsonFile, VideoRecord, parse_asr, parse_record
from chapter_assets_tests.feedback.made_up import Line, feedback_line, impression_line, listed, transcript_line

ROOT = Path(__file__).parents[2] / "data"
_USERS = [hashlib.sha256(f"a salt and user {n}".encode()).hexdigest()[:16] for n in range(3)]
_TRAIN = (
    ("e97eead59f5", "22efa6a679c", "7f169030222", "8789b17512c", "9b5cfae70b6"),
    ("cb5a60c90fb", "507f312c457", "bd03c796525", "1202159e92a", "58692c7769b"),
    ("88084d6f110", "279981da4f6", "a61dee52586", "613e26ec6ec", "a69ef0f8538"),
)
_HELD_OUT = (("c84ef2d530a", "cb6a4892129"), ("32a8f6de759", "28445b31462"), ("91159a93904", "271e009ba35"))
_SAID = ("edit", "edit part", "edit", "accept", "reject", "edit", "accept")


def sample_batches() -> dict[str, str]:
    """File name -> content."""
    folder = ROOT / "corpus" / "sample"
    videos = {id_: parse_record(id_, raw)[0] for id_, raw in JsonFile(folder / "chapters.json")}
    spoken = {id_: raw for id_, raw in JsonFile(folder / "asrs.json") if id_ in videos}
    asrs = {id_: parse_asr(id_, raw, videos[id_].duration)[0] for id_, raw in spoken.items()}
    batches: dict[str, str] = {}
    sent_before: list[Line] = []
    for number, ids in enumerate(zip(_TRAIN, _HELD_OUT, strict=True), start=1):
        lines = [*sent_before]  # a client that never heard that its batch had arrived
        for place, video_id in enumerate(sum(ids, ())):
            said = list(_about(videos[video_id], asrs[video_id], number, place))
            lines += said
            if number == 2 and place == 0:
                sent_before = said
        # Each batch has a record that arrived twice, and one that cannot be used.
        wrong: Line = [{"impression_id": "lost"}, {"schema_version": 2}, {"span_seen": [0.0, 1e6]}][number - 1]
        lines += [lines[-1], lines[-1] | {"feedback_id": f"fb-{number}-wrong"} | wrong]
        batches[f"sample-{number}.jsonl"] = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return batches


def _about(video: VideoRecord, asr: AsrRecord, batch: int, place: int) -> Iterator[Line]:
    """Transcript, impression and verdict of one video; the third of each batch is rejected before it is edited."""
    rng = random.Random(video.video_id)
    said = _SAID[place]
    duration = video.duration or 0.0
    segments = [(s.start, s.end, s.text) for s in asr.segments]
    transcript = transcript_line(video.video_id, video.channel_id, duration, segments, title=video.title)
    gold = [(c.start, c.title) for c in video.chapters]
    guessed = sorted(rng.sample(segments, len(gold) - 1))
    shown = gold if said == "accept" else [(start, " ".join(text.split()[:5])) for start, _, text in guessed]
    blind = (batch, place) == (2, 5)
    at = datetime(2026, 11, 2, 9 + place, tzinfo=UTC) + timedelta(days=7 * (batch - 1))
    name, user = f"{batch}-{place}", _USERS[place % 3]
    confidence = {"confidence": round(rng.uniform(0.3, 0.9), 2)}
    yield transcript
    yield impression_line(
        transcript,
        f"im-{name}",
        prediction_id=f"pr-{name}",
        shown=[] if blind else listed(shown, **confidence),
        created_at=at.isoformat(),
    )
    seen = [0.0, round(duration * 0.6) if said == "edit part" else duration]
    edited = [(start, title) for start, title in gold if start <= seen[1]] if said.startswith("edit") else None
    verdict = feedback_line(
        f"fb-{name}",
        f"im-{name}",
        verdict=said.split()[0],
        chapters=listed(edited) if edited is not None else None,
        operations=[{"op": "add", "start": s, "title": t} for s, t in edited or () if (s, t) not in shown],
        span_seen=seen,
        seconds_spent=float(rng.randint(20, 400)),
        blind=blind,
        user=user,
        created_at=(at + timedelta(minutes=7)).isoformat(),
    )
    if place == 2:
        changed = {"verdict": "reject", "chapters": None, "operations": [], "created_at": at.isoformat()}
        yield verdict | {"feedback_id": f"fb-{name}-first"} | changed
    yield verdict


if __name__ == "__main__":
    for name, content in sample_batches().items():
        (ROOT / "feedback" / name).parent.mkdir(exist_ok=True)
        (ROOT / "feedback" / name).write_text(content)

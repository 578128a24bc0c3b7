"""Which part a channel belongs to: a hash of its name decides, so that it never changes as data grows."""

import hashlib
from typing import Literal

Split = Literal["train", "validation", "gate", "audit"]


def split_of(channel: str, shard: str, validation: int, gate: int, audit: int) -> Split:
    """The part of `channel`; `validation`, `gate`, `audit` in percent of all channels.

    A published validation or test shard (`*_val`, `*_test`) is held out whole, whatever its channels' hashes say.
    """
    if shard.endswith("_val"):
        return "validation"
    if shard.endswith("_test"):
        return "gate"
    point = int.from_bytes(hashlib.sha256(channel.encode()).digest()[:8], "big") % 10_000 / 100
    if point < validation:
        return "validation"
    if point < validation + gate:
        return "gate"
    if point < validation + gate + audit:
        return "audit"
    return "train"

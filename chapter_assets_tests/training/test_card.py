from pathlib import Path
from typing import Any

import pytest

from chapter_assets.training.card import write_card


@pytest.mark.parametrize(("languages", "shown"), [({"en": 180, "de": 4}, "en 180, de 4"), ({}, "unknown")])
def test_the_card_says_from_how_many_videos_of_each_language_titles_were_learned(
    tmp_path: Path, languages: dict[str, int], shown: str
) -> None:
    details: dict[str, Any] = {
        "manifest": {"settings": {"base_model": "m", "chooser": "boundary_head"}, "shards": [{"key": "sample"}]},
        "recipe": {"epochs": 1, "lora_rank": 8, "learning_rate": 1e-4, "seed": 0},
        "training_set": "f" * 64,
        "counts": {"rows": 9, "languages": languages},
        "seconds": 1.0,
    }
    write_card(tmp_path, "ft-0001", details)
    assert f"| videos by language | {shown} |" in (tmp_path / "README.md").read_text()

"""The check of the sample's chapters notices what moves, and forgives what rounding moves."""

import copy
import json
from typing import Any

import pytest

from benchmarks.quality.regression import EXPECTED, compare


@pytest.fixture
def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXPECTED.read_text())
    return found


def test_the_tracked_lists_are_as_they_are_expected(expected: dict[str, Any]) -> None:
    lines, wrong = compare(expected, expected)
    assert not wrong
    assert len(lines) == len(expected["videos"]) + 1
    assert all(video["chapters"] for video in expected["videos"].values())


def test_one_start_that_rounding_moved_is_forgiven(expected: dict[str, Any]) -> None:
    made = copy.deepcopy(expected)
    max(made["videos"].values(), key=lambda v: len(v["chapters"]))["chapters"].pop()
    assert not compare(expected, made)[1]


def test_lists_of_another_recipe_are_noticed(expected: dict[str, Any]) -> None:
    equal, titles, poorer = (copy.deepcopy(expected) for _ in range(3))
    for video in equal["videos"].values():
        for number, chapter in enumerate(video["chapters"]):
            chapter["start"] = float(int(video["duration"] * number / len(video["chapters"])))
    for video in titles["videos"].values():
        for chapter in video["chapters"]:
            chapter["title"] = "Something else"
    poorer["f1"] -= 6
    for made, what in ((equal, "starts"), (titles, "titles"), (poorer, "F1 fell")):
        assert any(what in wrong for wrong in compare(expected, made)[1])
    del equal["videos"][next(iter(equal["videos"]))]
    assert "no prediction" in compare(expected, equal)[1][0]

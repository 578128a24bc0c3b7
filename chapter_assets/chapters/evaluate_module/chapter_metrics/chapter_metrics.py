"""The chapter metrics as a module for Hugging Face `evaluate`: `evaluate.load("<the folder of this file>")`.

`evaluate` copies this file and scans its imports, so they stand one a line without comments, and the metrics stay in
the package.
"""
# ruff: noqa: TID253  # only `evaluate` imports this file

from typing import Any

import datasets
import evaluate

from chapter_assets.chapters import metrics
from chapter_assets.chapters.chapterlist import Chapter

_DESCRIPTION = "Scores video chapter lists, as VidChapters and Chapter-Llama do: F1, tIoU, SODA_c, CIDEr, distance."
_INPUTS = """
predictions: one {"starts": [seconds], "titles": [text]} per video; both empty where there is no prediction.
references: the same with "duration" (seconds), in the order of the predictions.
Returns the figures that chapter_assets.chapters.metrics.summarize describes.
"""
_CITATION = """
@inproceedings{yang2023vidchapters, title={VidChapters-7M: Video Chapters at Scale},
 author={Yang, Antoine and Nagrani, Arsha and Laptev, Ivan and Sivic, Josef and Schmid, Cordelia},
 booktitle={NeurIPS}, year={2023}}
@inproceedings{ventura2025chapter, title={Chapter-Llama: Efficient Chaptering in Hour-Long Videos with LLMs},
 author={Ventura, Lucas and Yang, Antoine and Schmid, Cordelia and Varol, G{\"u}l}, booktitle={CVPR}, year={2025}}
"""


class ChapterMetrics(evaluate.Metric):
    """Chapter metrics over a list of videos."""

    def _info(self) -> evaluate.MetricInfo:
        chapters = {
            "starts": datasets.Sequence(datasets.Value("float64")),
            "titles": datasets.Sequence(datasets.Value("string")),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": chapters, "references": {"duration": datasets.Value("float64"), **chapters}}
            ),
        )

    def _compute(self, predictions: list[dict[str, Any]], references: list[dict[str, Any]]) -> dict[str, float]:
        gold = {str(i): (video["duration"], _chapters(video)) for i, video in enumerate(references)}
        return metrics.evaluate(gold, {str(i): _chapters(video) for i, video in enumerate(predictions)})


def _chapters(video: dict[str, Any]) -> list[Chapter]:
    return [Chapter(start, title) for start, title in zip(video["starts"], video["titles"], strict=True)]

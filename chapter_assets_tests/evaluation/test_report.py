import json
import re
from html.parser import HTMLParser

import pytest

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.evaluation.report import PICTURED, pictured, plots, report_markdown, write_report
from chapter_assets.evaluation.table import evaluate_systems
from chapter_assets_tests.evaluation.made_up import at, many, row, table

HITS = {"three_equal": 0.2, "equal_spacing": 0.15, "control": 0.3, "finetuned": 0.8}
NASTY = [
    '<script>alert("x")</script>',
    "مقدمة عن الموضوع",
    "🎓🎓🎓",
    " ".join(f"word{i}" for i in range(98)),
    "\"><img src=x onerror='alert(1)'> {{ 7 * 7 }} https://evil.example/a.png",
]
ABOUT = {"finetune": "ft-0001", "base_model": "a <b>model</b>", "recipe": {"epochs": 3.0, "learning_rate": 2e-4}}


class Page(HTMLParser):
    """Every tag with its attributes, and the text between."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page_of(tmp_path, gold, rows, about=ABOUT):
    predictions = table(rows)
    report = evaluate_systems(predictions, gold)
    return write_report(report, predictions, gold, about, tmp_path).read_text(encoding="utf-8"), report


@pytest.fixture
def nasty(tmp_path):
    gold = {"v": (100.0, [Chapter(20.0 * i, title) for i, title in enumerate(NASTY)])}
    rows = [row(system, "v", gold["v"][1], title=NASTY[4], channel="c") for system in ("three_equal", "finetuned")]
    return page_of(tmp_path, gold, rows)[0]


def test_titles_are_shown_as_they_are_and_never_as_markup(nasty):
    page = Page(nasty)
    assert page.open == []
    for title in NASTY:
        assert page.text.count(title) >= 3  # gold, finetuned, best guess
        assert any(attributes.get("title", "").endswith(title) for _, attributes in page.tags)
    assert {"script", "img"}.isdisjoint(tag for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "a <b>model</b>" in page.text


def test_the_page_asks_for_nothing_outside_itself(nasty):
    for _, attributes in Page(nasty).tags:
        assert {"src", "href", "xlink:href", "srcset", "action", "data"}.isdisjoint(attributes)
    style = re.search(r"<style>(.*)</style>", nasty, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in nasty


def test_right_to_left_titles_are_left_to_the_browser(nasty):
    shown = [attributes for tag, attributes in Page(nasty).tags if tag == "h3" or attributes.get("title")]
    assert shown
    assert all(attributes["dir"] == "auto" for attributes in shown)


def test_tables_and_pictures_can_be_read_aloud(tmp_path):
    html, _ = page_of(tmp_path, *many(14, HITS))
    page = Page(html)
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    assert all(attributes.get("aria-label") for _, attributes in page.tags if attributes.get("role") == "img")
    assert ("html", {"lang": "en"}) in page.tags


def test_the_page_opens_with_the_verdict_and_the_facts(tmp_path):
    html, report = page_of(tmp_path, *many(14, HITS))
    text = " ".join(Page(html).text.split())
    assert "Evaluation of ft-0001" in text
    assert report["verdict"] in text
    assert "epochs 3, learning rate 0.0002" in text


def test_minus_signs_are_minus_signs_and_hyphens_stay(tmp_path):
    gold, rows = many(14, HITS | {"control": 0.9, "finetuned": 0.1})
    text = Page(page_of(tmp_path, gold, rows)[0]).text
    assert "text-free control: −" in text
    assert "ft-0001" in text


def test_what_was_left_out_is_said(tmp_path):
    gold, rows = many(8, HITS)
    html, _ = page_of(tmp_path, gold | {"no row": (9.0, at(0))}, rows)
    assert "Left out: 1 video with gold chapters but no row from any system." in html


def test_a_missing_prediction_is_an_empty_lane(tmp_path):
    gold = {"a": (100.0, at(0, 50))}
    html, _ = page_of(tmp_path, gold, [row("three_equal", "a", at(0, 33)), row("finetuned", "a", [])])
    assert html.count("No prediction") == 2


def test_the_worst_videos_come_first_and_the_best_is_among_the_pictured():
    videos = [{"video_id": f"{i:03d}", "f1": {"finetuned": float((37 * i) % 101)}} for i in range(101)]
    found = [video["f1"]["finetuned"] for video in pictured(videos, "finetuned")]
    assert len(set(found)) == PICTURED
    assert found[:6] == [0, 1, 2, 3, 4, 5]
    assert found == sorted(found)
    assert found[-1] == 100


@pytest.mark.parametrize("count", [1, 11, 12, 13])
def test_no_video_is_pictured_twice(count):
    videos = [{"video_id": str(i), "f1": {"finetuned": float(i)}} for i in range(count)]
    found = [video["video_id"] for video in pictured(videos, "finetuned")]
    assert len(found) == len(set(found)) == min(count, PICTURED)


def test_the_json_beside_the_page_is_the_report_with_its_facts(tmp_path):
    _, report = page_of(tmp_path, *many(14, HITS))
    assert json.loads((tmp_path / "report.json").read_text()) == {"about": ABOUT, **report}


def test_a_report_read_back_from_a_file_shows_the_same(tmp_path):
    _, report = page_of(tmp_path, *many(14, HITS))
    read = json.loads((tmp_path / "report.json").read_text())
    assert report_markdown(read) == report_markdown(report)
    assert plots(read) == plots(report)


def test_plots_are_png_pictures_and_a_video_without_prediction_has_its_place():
    gold = {"a": (100.0, at(0, 50)), "b": (100.0, at(0, 20, 60))}
    predictions = table([row("control", "b", at(0, 30)), row("finetuned", "a", at(0, 33))])
    found = plots(evaluate_systems(predictions, gold))
    assert found.keys() == {"f1", "chapter_counts"}
    assert all(png.startswith(b"\x89PNG") for png in found.values())


def believing(videos=14, **more):
    """Gold and rows in which the finetuned model is surer of the starts that are right."""
    gold, rows = many(videos, HITS)
    for r in rows:
        if r["system"] == "finetuned":
            true = {int(c.start) for c in gold[r["video_id"]][1]}
            r["confidences"] = [0.85 if int(c["start"]) in true else 0.15 for c in r["chapters"]]
            r["expected_f1"] = 100 * sum(r["confidences"]) / len(r["confidences"])
            r["score"] = 0.9 * r["expected_f1"]
            r |= more
    return gold, rows


def test_the_page_shows_what_the_models_confidence_is_worth_and_what_to_label(tmp_path):
    gold, rows = believing(unsupported=["Berta"], raw="Here is a title: chapter 0\nchapter 1")
    title = NASTY[0] + "|"
    rows.append(row("finetuned", "u", at(0, 9), split="unlabelled", title=title, expected_f1=7.0, score=6.5))
    html, report = page_of(tmp_path, gold, rows)
    page = Page(html)
    assert page.open == []
    text = " ".join(page.text.split())
    for said in (
        "How far its own confidence can be trusted",
        "Titles to doubt",
        "Names and numbers that nobody said: 14, in 14 videos (Berta)",
        "taken off: 14",
        "What to label next",
        "Of 1 video without chapters",
        title,
    ):
        assert said in text
    assert {"script", "img"}.isdisjoint(tag for tag, _ in page.tags)
    assert plots(report)["reliability"].startswith(b"\x89PNG")
    read = json.loads((tmp_path / "report.json").read_text())
    assert report_markdown(read) == report_markdown(report)
    assert plots(read) == plots(report)


def test_markdown_shows_it_too_with_every_table_in_shape():
    gold, rows = believing()
    rows.append(row("finetuned", "u", at(0, 9), split="unlabelled", title="a | b `c` <i>", expected_f1=7.0, score=6.5))
    markdown = report_markdown(evaluate_systems(table(rows), gold))
    assert "| 80 to 90 % |" in markdown
    assert "| 10 to 20 % |" in markdown
    assert "rank correlation" in markdown
    assert r"| a \| b \`c\` \<i\> | sample | 1:40 | 2 | 7.0 | 6.5 |" in markdown


def test_without_unlabelled_videos_the_judged_ones_are_listed_and_called_so(tmp_path):
    html, report = page_of(tmp_path, *believing())
    assert report["to_label"]["kind"] == "judged"
    assert "In its place: the judged videos of which the model is least sure, of 14 videos." in html


def test_the_list_to_label_is_called_a_hint_unless_the_expected_f1_is_shown_to_follow_the_true_one():
    gold, rows = believing(40)
    hint = "take it as a hint"
    assert hint not in report_markdown(evaluate_systems(table(rows), gold))
    for r in rows:
        r["expected_f1"] = r["expected_f1"] and 100 - r["expected_f1"]
    markdown = report_markdown(evaluate_systems(table(rows), gold))
    assert hint in markdown
    assert "within ±0.31 it may be chance" in markdown
    few = report_markdown(evaluate_systems(table(rows[:20]), gold))  # five videos
    assert hint in few
    assert "is unknown for the expected F1" in few


def test_a_model_without_belief_has_no_section_on_it(tmp_path):
    html, report = page_of(tmp_path, *many(14, HITS))
    assert report["belief"] is None
    assert report["to_label"] is None
    assert "confidence can be trusted" not in html
    assert "label next" not in html
    assert "confidence" not in report_markdown(report)


def test_markdown_has_the_verdict_the_table_and_the_slices():
    gold, rows = many(14, HITS)
    rows = [r | {"shard": "other" if int(r["video_id"][1:]) % 2 else "sample"} for r in rows]
    markdown = report_markdown(evaluate_systems(table(rows), gold))
    assert markdown.startswith("The finetuned model is better than the text-free control")
    assert "| **Finetuned** |" in markdown
    assert "| other | 7 | 7 |" in markdown


@pytest.mark.parametrize("systems", [("finetuned",), ("three_equal",), ("champion", "finetuned")])
def test_any_systems_make_a_page(tmp_path, systems):
    gold, rows = many(3, dict.fromkeys(systems, 0.5))
    html, _ = page_of(tmp_path, gold, rows, about={})
    assert Page(html).open == []

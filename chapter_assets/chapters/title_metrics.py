"""How near predicted titles are to the gold ones: ROUGE-L, SODA_c, CIDEr and repeats, on lists of words.

Which segments overlap is metrics.py's business and comes in as an IoU matrix of shape (gold chapters, predicted
chapters), without the segments that F1 puts in front.
"""

import importlib
import math
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chapter_assets.errors import InputError

Matrix = NDArray[np.float64]
Words = list[str]
Pair = tuple[int, int]

CIDER_TAUS = (0.3, 0.5, 0.7, 0.9)


def words(title: str) -> Words:
    """The words of a title, lower-cased, punctuation and symbols removed.

    A title of symbols only (emoji, "???") keeps them, so that it equals itself; one of white space has no words.
    """
    text = unicodedata.normalize("NFKC", title).lower()
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in text)
    return [word for word in kept.split() if any(map(str.isalnum, word))] or text.split()


def rouge_l(gold: Words, pred: Words) -> float:
    """ROUGE-L (Lin 2004) from 0 to 1: 2 x longest common subsequence / (words in both), precision and recall alike."""
    if set(gold).isdisjoint(pred):
        return 0.0
    longest = [0] * (len(pred) + 1)
    for gold_word in gold:
        diagonal = 0
        for j, pred_word in enumerate(pred, start=1):
            above = longest[j]
            longest[j] = diagonal + 1 if gold_word == pred_word else max(above, longest[j - 1])
            diagonal = above
    return 2 * longest[-1] / (len(gold) + len(pred))


def soda_c(iou: Matrix, title_score: Callable[[int, int], float]) -> float:
    """SODA_c (Fujita et al. 2020) from 0 to 1: F of the best order-preserving matching by IoU x title score.

    `title_score(i, j)` is asked only for gold i and predicted j that overlap.
    """
    n_gold, n_pred = iou.shape
    weights = np.zeros_like(iou)
    for i, j in overlapping(iou):
        weights[i, j] = iou[i, j] * title_score(i, j)
    best = np.zeros(n_pred + 1)  # best[j]: the best sum with the gold rows so far and the first j predictions
    for row in weights:
        best[1:] = np.maximum.accumulate(np.maximum(best[1:], best[:-1] + row))
    return float(2 * best[-1] / (n_gold + n_pred)) if n_pred else 0.0  # = 2PR/(P+R) of P = S/|pred|, R = S/|gold|


def overlapping(iou: Matrix) -> Iterator[Pair]:
    """The (gold, predicted) pairs with IoU > 0, row by row."""
    rows, columns = np.nonzero(iou)
    return zip(rows.tolist(), columns.tolist(), strict=True)


def cider(iou: Matrix, gold: Sequence[Words], pred: Sequence[Words]) -> float:
    """CIDEr of one video from 0 to 1000: the mean over `CIDER_TAUS` of the mean over the pairs with IoU >= tau.

    A prediction without such a pair stands as a pair that scores 0 (published: paired with a random string).
    """
    gold_grams, pred_grams = [_ngrams(title) for title in gold], [_ngrams(title) for title in pred]
    scores: dict[tuple[Pair, ...], float] = {}
    total = 0.0
    for tau in CIDER_TAUS:
        pairs = tuple(overlapping(np.where(iou >= tau, iou, 0.0)))
        if pairs not in scores:  # most taus keep the same pairs
            unmatched = len(pred) - len({j for _, j in pairs})
            scores[pairs] = _cider_sum([(gold_grams[i], pred_grams[j]) for i, j in pairs], unmatched)
            scores[pairs] /= max(len(pairs) + unmatched, 1)
        total += scores[pairs]
    return 1000 * total / len(CIDER_TAUS)


NGrams = Counter[tuple[str, ...]]


def _ngrams(title: Words) -> NGrams:
    return Counter(tuple(title[i : i + n]) for n in range(1, 5) for i in range(len(title) - n + 1))


def _cider_sum(pairs: Sequence[tuple[NGrams, NGrams]], unmatched: int) -> float:
    """Sum over (gold, predicted) n-gram counts of CIDEr-D (Vedantam et al. 2015) / 10, as pycocoevalcap computes it.

    Per n of 1 to 4 the cosine of tf-idf weights, the predicted ones clipped at the gold ones, times a Gaussian
    (sigma 6) of the difference in length; idf from the pairs' own gold titles; the mean over n.
    """
    log_pairs = math.log(len(pairs) + unmatched) if pairs else 0.0
    in_golds = Counter(gram for gold, _ in pairs for gram in gold)
    total = 0.0
    for gold, pred in pairs:
        if gold.keys().isdisjoint(pred):
            continue
        dots, gold_norms, pred_norms = [0.0] * 4, [0.0] * 4, [0.0] * 4
        weights = {gram: count * (log_pairs - math.log(in_golds[gram])) for gram, count in gold.items()}
        for gram, weight in weights.items():
            gold_norms[len(gram) - 1] += weight**2
        for gram, count in pred.items():
            weight = count * (log_pairs - math.log(max(in_golds[gram], 1)))
            pred_norms[len(gram) - 1] += weight**2
            if gram in weights:
                dots[len(gram) - 1] += min(weight, weights[gram]) * weights[gram]
        cosines = [dot / math.sqrt(g * p) for dot, g, p in zip(dots, gold_norms, pred_norms, strict=True) if dot]
        longer = _length(pred) - _length(gold)
        total += sum(cosines) / 4 * math.exp(-(longer**2) / (2 * 6.0**2))
    return total


def _length(counts: NGrams) -> int:
    """The number of word pairs, which pycocoevalcap takes for a title's length."""
    return sum(count for gram, count in counts.items() if len(gram) == 2)


def repeated(titles: Sequence[Words]) -> float:
    """The share (0 to 1) of titles that already stood earlier in the list."""
    return 1 - len({tuple(title) for title in titles}) / len(titles) if titles else 0.0


def published(videos: Mapping[str, tuple[Matrix, Sequence[str], Sequence[str]]]) -> dict[str, dict[str, float]]:
    """`soda_c` (METEOR 1.5) and `cider` (Stanford tokenizer), x100, as published, per video of (IoU, gold, predicted).

    Needs Java and the package pycocoevalcap, else InputError. Only ASCII is read, as published; a video with a title
    that leaves no word gets NaN (published: left out of the mean), and so does one without predictions.
    """
    tokenize, meteor = _java_scorers()
    captions = {_ascii(title) for _, *sides in videos.values() for side in sides for title in side} - {""}
    tokenized = {"": [""]} | tokenize({caption: [{"caption": caption}] for caption in sorted(captions)})
    scores = {}
    for video, (iou, *sides) in videos.items():
        gold, pred = ([tokenized[_ascii(title)][0] for title in side] for side in sides)
        scores[video] = _published_of_video(iou, gold, pred, meteor)
    return scores


def _published_of_video(
    iou: Matrix, gold: list[str], pred: list[str], meteor: Callable[[str, str], float]
) -> dict[str, float]:
    if not (gold and pred and all(gold) and all(pred)):
        return {"soda_c": math.nan, "cider": math.nan}
    return {
        # METEOR's arguments are swapped in the published code: the gold title is its hypothesis
        "soda_c": 100 * soda_c(iou, lambda i, j: meteor(pred[j], gold[i])),
        "cider": cider(iou, [title.split() for title in gold], [title.split() for title in pred]),
    }


def _ascii(title: str) -> str:
    return " ".join("".join(c if c.isascii() else " " for c in title).split())


def _java_scorers() -> tuple[Callable[..., dict[str, list[str]]], Callable[[str, str], float]]:
    """The Stanford tokenizer, and METEOR of (reference, hypothesis), both in Java through pycocoevalcap."""
    try:
        tokenizer = importlib.import_module("pycocoevalcap.tokenizer.ptbtokenizer").PTBTokenizer()
        meteor_class = importlib.import_module("pycocoevalcap.meteor.meteor").Meteor
    except ImportError:
        raise InputError("The package pycocoevalcap is not installed", _JAVA_REMEDY) from None
    if shutil.which("java") is None:
        raise InputError("There is no `java` on the PATH", _JAVA_REMEDY)
    meteor = meteor_class()  # starts a Java process, which ends with the object
    return tokenizer.tokenize, lambda reference, text: meteor.compute_score({0: [reference]}, {0: [text]})[0]


_JAVA_REMEDY = "Install pycocoevalcap and a Java runtime, or use `soda_c_rougeL` and `cider_plain`, which need neither"

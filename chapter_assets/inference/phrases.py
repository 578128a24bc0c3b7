"""The phrase that sets a text apart from its neighbours, verbatim, in any script: counting words, no model."""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

_MOST_WORDS = 3  # that carry meaning; 4 score better against English titles and read worse elsewhere
_MOST_CHARACTERS = 8  # of a phrase where words are not parted by spaces
_LONGEST = 7  # words of a phrase with the weak ones inside it
_WORD_BONUS, _CHARACTER_BONUS = 0.3, 0.2  # of a phrase for each further word or character
_LONG_WORD = 7  # letters; one shorter word in small letters counts less the shorter it is: more, quand, aber
# The share of English stop words from which a text is English: 19 of 20 real ones have 0.39 or more, other languages
# 0 to 0.1.
_ENGLISH = 0.2
_SHORT = 3  # letters: der, les, que, для; English has words like "car" and a list of its own instead
_PIECE_WORDS = 20
_FREQUENT = (3, 0.05)  # a word in so many pieces, and in that share of them, says nothing of a chapter
_FEWEST = 3  # texts from which a word that is in all of them sets none apart

# A text is read as a string of kinds, one for each character: w(ord letter), k(atakana or Hangul), h(iragana),
# l(eading vowel), c(haracter of a script without spaces), m(ark), apostrophe, space or hyphen, and . that ends a
# phrase.
_WORD = re.compile(r"(?P<spaced>w[wm]*(?:'w[wm]*)*)|k[km]*|l*cm*|[h.]")
_NAMES = {"HIRAGANA": "h", "KATAKANA": "k", "HANGUL": "k"} | dict.fromkeys(
    ("CJK", "IDEOGRAPHIC", "THAI", "LAO", "KHMER", "MYANMAR"), "c"
)
_LEADING_VOWELS = "เแโใไເແໂໃໄ"  # written before the consonant that they belong to

Span = tuple[int, int]
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Word:
    """A word, or one character where words are not parted; `place` counts words, `clause` what ends a phrase."""

    key: str
    start: int
    end: int
    place: int
    clause: int
    spaced: bool
    lower: bool


def best_phrases(texts: Sequence[str]) -> list[str]:
    """For each text a phrase of up to three meaningful words, as it stands in the text; "" where there is none.

    Weighed by tf-idf over the texts; of equals, the one said first. Phrases neither begin nor end with a weak word:
    one that is in every text; an English stop word; in other languages (no list) a short one, or one said again and
    again. Chinese, Japanese, Thai and the like are counted by their characters.
    """
    words = [_words(text) for text in texts]
    is_weak = _weak_words([word for part in words for word in part])
    keys = [{word.key for word in part if word.spaced} for part in words]
    everywhere: set[str] = set.intersection(*keys) if len(keys) >= _FEWEST else set()
    phrases = [_phrases([w for w in part if not is_weak(w) and w.key not in everywhere]) for part in words]
    texts_with = Counter(key for found in phrases for key in found)

    def weight(text: str, key: Key, spans: Sequence[Span]) -> float:
        rarity = math.log((1 + len(texts)) / (1 + texts_with[key])) + 1
        length = 1 + (_CHARACTER_BONUS if _is_character(key[0]) else _WORD_BONUS) * (len(key) - 1)
        if len(key) == 1 and any(text[start:end].islower() for start, end in spans):
            length = min(len(key[0]) / _LONG_WORD, 1)
        return (1 + math.log(len(spans))) * rarity * length

    best = []
    for text, found in zip(texts, phrases, strict=True):
        if not found:
            best.append("")
            continue
        spans = max(found.items(), key=lambda item: weight(text, *item))[1]
        start, end = min(spans, key=lambda span: span[1] - span[0])
        best.append(_as_title(text[start:end]))
    return best


def _as_title(phrase: str) -> str:
    """With a capital at the start, unless its first word has one inside (iPhone, but not l'État)."""
    first = phrase.split()[0]
    return phrase if first.isalpha() and not first.islower() else phrase[0].upper() + phrase[1:]


@cache
def _kind(character: str) -> str:
    if unicodedata.category(character)[0] == "M":
        return "m"
    if not character.isalnum():
        return "'" if character in "'’" else " " if character.isspace() or character in "-‐‑" else "."
    if character in _LEADING_VOWELS:
        return "l"
    return _NAMES.get(re.split(r"[ -]", unicodedata.name(character, ""))[0], "w")


def _is_character(key: str) -> bool:
    return _kind(key[0]) in "lc"


def _words(text: str) -> list[_Word]:
    words: list[_Word] = []
    clause = 0
    for match in _WORD.finditer("".join(map(_kind, text))):
        if match[0] in "h.":
            clause += 1
            continue
        said = text[match.start() : match.end()]
        lower = not any(c.isupper() or c.isdigit() for c in said)
        key = said.casefold().replace("’", "'")
        words.append(_Word(key, *match.span(), len(words), clause, match["spaced"] is not None, lower))
    return words


def _weak_words(words: Sequence[_Word]) -> Callable[[_Word], bool]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    spaced = [word.key for word in words if word.spaced]
    if sum(key in ENGLISH_STOP_WORDS for key in spaced) >= _ENGLISH * len(spaced):
        return lambda word: (
            word.spaced
            and (len(word.key) == 1 or word.key.split("'")[0] in ENGLISH_STOP_WORDS or word.key.endswith("n't"))
        )
    pieces = [set(spaced[i : i + _PIECE_WORDS]) for i in range(0, len(spaced), _PIECE_WORDS)]
    pieces_with = Counter(key for piece in pieces for key in piece)
    bound = max(_FREQUENT[0], _FREQUENT[1] * len(pieces))
    return lambda word: word.spaced and ((len(word.key) <= _SHORT and word.lower) or pieces_with[word.key] >= bound)


def _phrases(words: Sequence[_Word]) -> dict[Key, list[Span]]:
    """Where each phrase of these words stands, in the order of the text."""
    found: dict[Key, list[Span]] = defaultdict(list)
    for i, first in enumerate(words):
        by_character = _is_character(first.key)
        most = _MOST_CHARACTERS if by_character else _MOST_WORDS
        for j in range(i, min(i + most, len(words))):
            last, before = words[j], words[max(j - 1, i)]
            joined = last is first or (last.spaced and before.spaced) or last.start == before.end
            if last.clause != first.clause or last.place - first.place >= max(most, _LONGEST) or not joined:
                break
            key = tuple(word.key for word in words[i : j + 1])
            whole = len(key) > 1 if by_character else len(set(key)) == len(key)  # no lone character, no "go go go"
            if whole and any(map(str.isalpha, "".join(key))):
                found[key].append((first.start, last.end))
    return found

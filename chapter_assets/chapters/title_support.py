"""What a title claims beyond its text: names and numbers that nobody said."""

import re
import unicodedata
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+")
_SPELLED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SHORTEST_TELLING = 4  # letters; titles in capitals leave `of` and `the` small


def unsupported(title: str, text: str) -> list[str]:
    """The names and numbers of `title` that are no word of `text`, in order and as the title writes them.

    Words are compared whole, case-folded, in any script. A number is a word with a digit in it; what is spelled out
    in English up to twelve supports its digits. A name is
    - a word with a capital after its first letter (NASA, iPhone), unless the whole title is in capitals;
    - after the title's first word, a longer word than `I` that begins with a capital, if a word of four letters or more
      there does not: where Every Word Has One, capitals mark no names.
    So in a title of that kind, and in scripts without capitals, a made-up name passes unseen; a common noun that German
    capitalizes counts as a name.
    """
    words = _WORD.findall(unicodedata.normalize("NFKC", title))
    later = words[1:]
    marked = any(word.islower() and len(word) >= _SHORTEST_TELLING for word in later)
    shouted = not any(c.islower() for word in words for c in word)
    claims = [
        word
        for place, word in enumerate(words)
        if any(map(str.isdigit, word))
        or (not shouted and any(map(str.isupper, word[1:])))
        or (marked and place > 0 and len(word) > 1 and word[0].isupper())
    ]
    said = _said(text)
    return [word for word in claims if word.casefold() not in said]


@lru_cache(maxsize=4)
def _said(text: str) -> frozenset[str]:
    """The case-folded words of a text; an hour of speech is read once for all titles."""
    words = set(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))
    return frozenset(words | {str(number) for number, word in enumerate(_SPELLED) if word in words})

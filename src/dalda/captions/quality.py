"""How good a book is, in a few numbers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean

from dalda.captions.class_matching import words_of
from dalda.captions.validation import Rules, overlap


@dataclass(frozen=True)
class Summary:
    """`distinct_2` and `similarity` are None where there is nothing to count."""

    classes: int
    captions: int
    fewest: int
    """Captions of the class that has fewest."""
    distinct_2: float | None
    """Different pairs of neighbouring words, as a share of all such pairs in the book (Li et al. 2016)."""
    similarity: float | None
    """Mean share of words that two captions of a class have in common, the class's name left out."""
    rejected: Mapping[str, int]
    """How many captions were not accepted, by reason."""


def summary_of(book: Mapping[str, Sequence[str]], rules: Rules, reasons: Iterable[str]) -> Summary:
    captions = [caption for written in book.values() for caption in written]
    bigrams = [pair for caption in captions for pair in pairwise(words_of(caption))]
    overlaps = []
    for name, written in book.items():
        telling = [rules.telling_words(caption, name) for caption in written]
        overlaps += [overlap(one, other) for one, other in combinations(telling, 2)]
    return Summary(
        classes=len(rules.classes),
        captions=len(captions),
        fewest=min((len(book.get(name, ())) for name in rules.classes), default=0),
        distinct_2=len(set(bigrams)) / len(bigrams) if bigrams else None,
        similarity=fmean(overlaps) if overlaps else None,
        rejected=dict(Counter(reason.split(":")[0] for reason in reasons).most_common()),
    )

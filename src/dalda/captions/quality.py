"""Quality of captions in a few numbers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean

from dalda.captions.class_matching import words_of
from dalda.captions.validation import Rules, overlap


@dataclass(frozen=True)
class Summary:
    """`distinct_2` and `similarity` are None if there is nothing to count."""

    classes: int
    captions: int
    fewest: int
    """Captions of the class that has fewest."""
    distinct_2: float | None
    """Different pairs of neighbouring words, as a share of all such pairs (Li et al. 2016)."""
    similarity: float | None
    """Mean share of words that two captions of a class have in common, without the class's name."""
    rejected: Mapping[str, int]
    """Rejected captions by reason."""


def summary_of(captions: Mapping[str, Sequence[str]], rules: Rules, reasons: Iterable[str]) -> Summary:
    """The numbers of the captions of each class, and of the reasons of the rejected ones."""
    pairs = [pair for texts in captions.values() for text in texts for pair in pairwise(words_of(text))]
    overlaps = []
    for name, texts in captions.items():
        telling = [rules.telling_words(text, name) for text in texts]
        overlaps += [overlap(*pair) for pair in combinations(telling, 2)]
    return Summary(
        classes=len(rules.classes),
        captions=sum(map(len, captions.values())),
        fewest=min((len(captions.get(name, ())) for name in rules.classes), default=0),
        distinct_2=len(set(pairs)) / len(pairs) if pairs else None,
        similarity=fmean(overlaps) if overlaps else None,
        rejected=dict(Counter(reason.split(":")[0] for reason in reasons).most_common()),
    )

"""What came of writing captions."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dalda.captions.generate import CaptionReport


def caption_lines(report: "CaptionReport", sample: int) -> list[str]:
    """What came of writing captions, what is missing and why, and some for the eye."""
    count = sum(len(captions) for captions in report.book.values())
    each = f"at least {report.summary.fewest} each"
    lines = [
        f"{count} captions for {report.summary.classes} classes, {each}, by {report.author}: {report.path}"
    ]
    if report.questions:
        spent = f"{report.tokens_in} tokens in, {report.tokens_out} out"
        lines.append(f"{report.questions} questions asked, {spent}; answers on disk cost nothing again")
    if report.tokens_estimated and report.author != "grammar":
        lines.append("the text encoder's limit was checked by estimate, since its tokenizer is not on disk")
    quality = report.summary
    if quality.distinct_2 is not None and quality.similarity is not None:
        alike = f"similarity within a class {quality.similarity:.2f}"
        lines.append(f"distinct-2 {quality.distinct_2:.2f}, {alike}")
    if quality.rejected:
        told = ", ".join(f"{reason} ({number})" for reason, number in quality.rejected.items())
        lines.append(f"rejected: {told}")
    for name, captions in report.sample(sample).items() if sample else ():
        lines += [f"{name}: {caption}" for caption in captions]
    width = max((len(one.label) for one in report.missing), default=0)
    for one in report.missing:
        lines.append(f"missing: {one.label:<{width}}  {one.captions} of {one.wanted}  {one.reason}")
    if report.stopped:
        lines.append(f"stopped: {report.stopped}")
    return lines

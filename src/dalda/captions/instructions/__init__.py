"""The words that are sent to a language model: files beside this one, one template for all data sets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from dalda.captions.llm import Message
from dalda.errors import UserError

SHOWN = 8
"""How many of a class's accepted captions are shown when more are asked for."""
SCHEMA: Mapping[str, Any] = json.loads(files(__name__).joinpath("schema.json").read_text(encoding="utf-8"))
"""Of an answer to `chat_messages`: pairs of a name and its captions, in any order."""


@dataclass(frozen=True)
class PromptTexts:
    """The texts for a chat model; `$domain`, `$classes` and `$written` in `user` are filled in."""

    system: str
    user: str
    one_each: bool = False
    """One caption of every class in each answer, as an object of class and caption; else several captions
    of a few classes, by SCHEMA."""


def prompt_texts(style: str = "standard", own: Sequence[str] = ()) -> PromptTexts:
    """The texts of a style; `own` is a user text, or a system text and a user text, in their place.

    Raises UserError for other numbers of texts, and for one that does not name the classes where it must.
    """
    one_each = style == "original"
    names = ("original_system.txt", "original_user.txt") if one_each else ("system.txt", "ask.txt")
    system, user = map(_read, names)
    if len(own) > 2:
        raise UserError("--prompt-file is given more than twice; name a system text and a user text")
    if own:
        system, user = (system, own[0]) if len(own) == 1 else (own[0], own[1])
        if not one_each and "$classes" not in user:
            raise UserError(
                "the user text of --prompt-file has no $classes, where the classes of each request stand; "
                "add it, or ask for all of them at once: --prompt-style original"
            )
    return PromptTexts(system.strip(), user, one_each)


def domain_of(dataset: str) -> str:
    """One line on what the images are; the data sets of the paper bring their own."""
    lines: dict[str, str] = json.loads(_read("domains.json"))
    return lines.get(dataset, lines[""])


def chat_messages(
    wanted: Mapping[str, int],
    domain: str,
    written: Mapping[str, Sequence[str]],
    names: Mapping[str, str],
    texts: PromptTexts | None = None,
) -> tuple[Message, ...]:
    """Ask a chat model for captions of several classes; `written` are those it need not repeat."""
    classes = "\n".join(f"- {names.get(name, name)}: {count}" for name, count in wanted.items())
    known = [f"- {caption}" for name in wanted for caption in written.get(name, ())[-SHOWN:]]
    repeat = "\n".join(["- These are written already; write others:", *known, ""]) if known else ""
    texts = texts or prompt_texts()
    text = Template(texts.user).safe_substitute(domain=domain, classes=classes, written=repeat)
    return (Message("system", texts.system), Message("user", text))


def completion_text(name: str, domain: str) -> str:
    """The few-shot text that a base model continues; its next line is a caption of `name`.

    The example of the same class is omitted, or the model would say it again.
    """
    lines = _read("complete.txt").splitlines()
    of_class = [line for line in lines[2:-1] if line.partition(": ")[0].casefold() == name.casefold()]
    text = "\n".join(line for line in lines if line not in of_class)
    return Template(text).substitute(domain=domain, name=name).rstrip()


def completion_examples() -> list[str]:
    """The captions that stand in the few-shot text; what only repeats one of them is no new caption."""
    lines = _read("complete.txt").splitlines()[2:-1]
    return [line.partition(": ")[2] for line in lines]


@cache
def _read(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")

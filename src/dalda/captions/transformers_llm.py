"""Any causal language model that transformers loads: a folder, a GGUF file or a Hub id, in this process."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dalda.captions.llm import Answer, Message, Question, without_system
from dalda.captions.validation import CUT
from dalda.errors import UserError, first_line


@dataclass
class TransformersModel:
    """A chat model answers the instructions; a model without a chat template goes on with a text."""

    model: str
    tokenizer: Any
    network: Any
    completes: bool
    name: str = "transformers"
    secrets: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, question: Question) -> Answer:
        import torch

        with self._lock, torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(question.seed)
            return self._complete(question) if self.completes else self._chat(question)

    def _chat(self, question: Question) -> Answer:
        from jinja2 import TemplateError

        try:
            inputs = self._laid_out(question.messages)
        except TemplateError:
            try:
                inputs = self._laid_out(without_system(question.messages))
            except TemplateError as error:
                raise UserError(
                    f"the chat template of {self.model!r} fails: {first_line(error)}."
                ) from error
        output = self._generate(inputs, question, question.max_tokens)
        text = self.tokenizer.decode(output[0], skip_special_tokens=True)
        finish = "length" if len(output[0]) >= question.max_tokens else "stop"
        return Answer(text, finish, inputs["input_ids"].shape[1], len(output[0]))

    def _laid_out(self, messages: Sequence[Message]) -> Any:
        return self.tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )

    def _complete(self, question: Question) -> Answer:
        ((name, count),) = question.wanted
        (message,) = question.messages
        opening = message.content.rpartition("\n")[2].partition(": ")[2]
        inputs = self.tokenizer(message.content, return_tensors="pt")
        stop = {"stopping_criteria": [self._line_ends(inputs["input_ids"].shape[1])]}
        most = question.max_tokens // question.samples
        output = self._generate(inputs, question, most, num_return_sequences=count, **stop)
        lines = [f"{name}: {opening}{self._line(row, most)}" for row in output]
        return Answer("\n".join(lines), "stop", inputs["input_ids"].shape[1] * count, output.numel())

    def _line(self, tokens: Any, most: int) -> str:
        """The first line of a sample, with `CUT` behind it where it did not come to its end."""
        text, newline, _ = str(self.tokenizer.decode(tokens, skip_special_tokens=True)).partition("\n")
        ends = {self.tokenizer.eos_token_id, self.tokenizer.pad_token_id}
        ended = newline or len(tokens) < most or ends.intersection(tokens.tolist())
        return text if ended else text + CUT

    def _line_ends(self, start: int) -> Callable[..., Any]:
        import torch

        def ends(ids: Any, scores: Any, **more: Any) -> Any:
            return torch.tensor(["\n" in self.tokenizer.decode(row[start:]) for row in ids])

        return ends

    def _generate(self, inputs: Any, question: Question, max_new_tokens: int, **more: Any) -> Any:
        inputs = inputs.to(self.network.device)
        output = self.network.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=True,
            temperature=question.temperature,
            top_p=0.95,
            max_new_tokens=max_new_tokens,
            pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id or 0,
            **more,
        )
        return output[:, inputs["input_ids"].shape[1] :]


def transformers_author(model: str) -> TransformersModel:
    """`model` is a folder, a `.gguf` file, or a Hub id, with `@revision` behind it if wanted."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from dalda.models.weights import load_module, load_settings

    where, more = _place(model)
    try:
        tokenizer = load_settings(AutoTokenizer, where, **more)
        network = load_module(AutoModelForCausalLM, where, "the language model", **more).eval()
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"transformers cannot load the language model {model!r}: {reason}") from error
    return TransformersModel(model, tokenizer, network, completes=not tokenizer.chat_template)


def _place(model: str) -> tuple[str, dict[str, Any]]:
    path = Path(model)
    if path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name}
    if path.exists():
        return model, {}
    identity, _, revision = model.partition("@")
    return identity, {"revision": revision} if revision else {}

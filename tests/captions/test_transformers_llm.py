"""Models that transformers loads, with a tiny random model that is made here; its text is noise."""

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from dalda.captions.generate import generate_captions
from dalda.captions.llm import Completion, Message
from dalda.captions.transformers_llm import TransformersModel, load_transformers_model
from dalda.errors import UserError

CHAT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"


NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)


def tiny_model(folder: Path, chat: bool, template: str = CHAT) -> Path:
    """A llama of some thousand weights whose tokens are letters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ :,.-\n", "</s>", "<unk>"]
    inner = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = template if chat else None
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(letters),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=4096,
        eos_token_id=letters.index("</s>"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def complete(llm: TransformersModel, text: str = "captions\npug: a pug", *, seed: int = 5) -> Completion:
    return llm.complete([Message("user", text)], None, temperature=1.0, max_tokens=12, seed=seed)


@pytest.mark.parametrize("chat", [True, False])
def test_one_seed_gives_one_answer(tmp_path: Path, chat: bool) -> None:
    llm = load_transformers_model(str(tiny_model(tmp_path / "model", chat)))
    assert llm.is_base_model is not chat
    answer = complete(llm)
    assert answer == complete(llm)
    assert answer.usage is not None
    assert min(answer.usage.input_tokens, answer.usage.output_tokens) > 0
    assert len({complete(llm, seed=seed).text for seed in range(5)}) > 1


@pytest.mark.parametrize("chat", [True, False])
def test_waiting_calls_are_one_batch_and_answer_as_if_alone(tmp_path: Path, chat: bool) -> None:
    llm = load_transformers_model(str(tiny_model(tmp_path / "model", chat)))
    texts = [f"{'long ' * index}captions\npug: a pug" for index in range(6)]
    alone = [complete(llm, text, seed=seed) for seed, text in enumerate(texts)]
    sizes: list[int] = []
    run = llm._run

    def counted(jobs: Sequence[Any]) -> None:
        sizes.append(len(jobs))
        run(jobs)

    llm._run = counted  # type: ignore[method-assign]
    with ThreadPoolExecutor(6) as pool, llm._lock:
        calls = [pool.submit(complete, llm, text, seed=seed) for seed, text in enumerate(texts)]
        while len(llm._waiting) < 6:
            time.sleep(0.01)
        llm._lock.release()
        try:
            together = [call.result() for call in calls]
        finally:
            llm._lock.acquire()
    assert sizes == [6]
    assert together == alone


def test_a_model_without_some_weights_is_refused(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model", chat=True)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"the language model in .* lacks tensors .*up_proj"):
        load_transformers_model(str(folder))


def test_loading_and_answering_say_nothing(tmp_path: Path) -> None:
    """In a process of its own, whose terminal is looked at."""
    folder = tiny_model(tmp_path / "model", chat=False)
    code = (
        "from dalda.captions.llm import Message, language_model\n"
        f"llm = language_model('transformers:{folder}')\n"
        "llm.complete([Message('user', 'a pug')], None, temperature=1.0, max_tokens=4, seed=1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_captions_that_are_never_accepted_are_reported(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model", chat=False)
    report = generate_captions(
        ["pug"],
        tmp_path / "captions.json",
        llm=f"transformers:{folder}",
        per_class=1,
        count_tokens=lambda text: 78,
    )
    assert [entry.label for entry in report.missing] == ["pug"]
    assert report.questions == 12
    assert not report.summary.captions
    assert sum(report.summary.rejected.values()) == 12


def test_the_token_limit_counts_the_text_once_a_sample(tmp_path: Path) -> None:
    """A base model reads the examples again for each caption; the limit still holds."""
    folder = tiny_model(tmp_path / "model", chat=False)
    limits = [3_000, 30_000, 60_000]
    for limit in limits:
        report = generate_captions(
            ["pug", "beagle"],
            tmp_path / f"{limit}.json",
            llm=f"transformers:{folder}",
            max_tokens_total=limit,
            count_tokens=lambda text: 78,
        )
        assert report.tokens_in + report.tokens_out <= limit
        assert f"limit of {limit} tokens" in str(report.stopped)
        assert (report.questions > 0) == (limit > limits[0])


def test_a_line_that_is_cut_says_so(tmp_path: Path) -> None:
    llm = load_transformers_model(str(tiny_model(tmp_path / "model", chat=False)))
    message = Message("user", "captions\npug: a pug")

    def finishes(max_tokens: int) -> list[str]:
        return [
            llm.complete([message], None, temperature=1.0, max_tokens=max_tokens, seed=seed).finish_reason
            for seed in range(8)
        ]

    assert finishes(2).count("length") > 4
    assert finishes(2000) == ["stop"] * 8


def test_a_model_without_a_system_role_is_asked_without(tmp_path: Path) -> None:
    llm = load_transformers_model(str(tiny_model(tmp_path / "model", True, NO_SYSTEM + CHAT)))
    messages = (Message("system", "be brief"), Message("user", "say pug"))
    answer = llm.complete(messages, None, temperature=1.0, max_tokens=12, seed=5)
    assert answer == complete(llm, "be brief\n\nsay pug")


def test_a_template_that_always_fails_is_a_sentence(tmp_path: Path) -> None:
    llm = load_transformers_model(str(tiny_model(tmp_path / "model", True, "{{ raise_exception('no') }}")))
    with pytest.raises(UserError, match=r"chat template of .* fails: no"):
        complete(llm)

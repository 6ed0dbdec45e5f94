"""The author `transformers`, with a tiny random model that is made here; what it says is noise."""

from pathlib import Path

import pytest

from dalda.captions.generate import write_captions
from dalda.captions.llm import Message, Question
from dalda.captions.transformers_llm import transformers_author
from dalda.captions.validation import CUT
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


@pytest.mark.parametrize("chat", [True, False])
def test_one_seed_gives_one_answer(tmp_path: Path, chat: bool) -> None:
    author = transformers_author(str(tiny_model(tmp_path / "model", chat)))
    assert author.completes is not chat
    message = Message("user", "captions\npug: a pug")
    question = Question("transformers", "tiny", (message,), (("pug", 2),), 1.0, 12, 5)
    answer = author.ask(question)
    assert answer == author.ask(question)
    assert answer.tokens_in > 0
    assert answer.tokens_out > 0
    other = Question("transformers", "tiny", (message,), (("pug", 2),), 1.0, 12, 6)
    assert author.ask(other).text != answer.text
    if not chat:
        assert [line.startswith("pug: a pug") for line in answer.text.split("\n")] == [True, True]


def test_what_is_never_accepted_is_told(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model", chat=False)
    report = write_captions(
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
    """A base model reads the examples anew for each caption; the limit holds all the same."""
    folder = tiny_model(tmp_path / "model", chat=False)
    limits = [3_000, 30_000, 60_000]
    for limit in limits:
        report = write_captions(
            ["pug", "beagle"],
            tmp_path / f"{limit}.json",
            llm=f"transformers:{folder}",
            max_tokens_total=limit,
            count_tokens=lambda text: 78,
        )
        assert report.tokens_in + report.tokens_out <= limit
        assert f"limit of {limit} tokens" in str(report.stopped)
        assert (report.questions > 0) == (limit > limits[0])


def test_a_sample_that_is_cut_says_so(tmp_path: Path) -> None:
    author = transformers_author(str(tiny_model(tmp_path / "model", chat=False)))
    message = Message("user", "captions\npug: a pug")
    short = Question("transformers", "tiny", (message,), (("pug", 8),), 1.0, 8 * 2, 5, samples=8)
    cut = [line.endswith(CUT) for line in author.ask(short).text.split("\n")]
    assert sum(cut) > 4
    long = Question("transformers", "tiny", (message,), (("pug", 8),), 1.0, 8 * 2000, 5, samples=8)
    assert not any(line.endswith(CUT) for line in author.ask(long).text.split("\n"))


def test_a_model_without_a_system_role_is_asked_without(tmp_path: Path) -> None:
    author = transformers_author(str(tiny_model(tmp_path / "model", True, NO_SYSTEM + CHAT)))
    messages = (Message("system", "be brief"), Message("user", "say pug"))
    asked = Question("transformers", "tiny", messages, (("pug", 1),), 1.0, 8, 5)
    folded = Question("transformers", "tiny", (Message("user", "be brief\n\nsay pug"),), (), 1.0, 8, 5)
    assert author.ask(asked) == author.ask(folded)


def test_a_template_that_always_fails_is_a_sentence(tmp_path: Path) -> None:
    author = transformers_author(str(tiny_model(tmp_path / "model", True, "{{ raise_exception('no') }}")))
    with pytest.raises(UserError, match=r"chat template of .* fails: no"):
        author.ask(Question("transformers", "tiny", (Message("user", "say pug"),), (), 1.0, 8, 5))

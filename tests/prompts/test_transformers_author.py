"""The author `transformers`, with a tiny random model that is made here; what it says is noise."""

from pathlib import Path

import pytest

from dalda.prompts.author import Message, Question
from dalda.prompts.transformers_author import transformers_author
from dalda.prompts.write import write_captions

CHAT = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"


def tiny_model(folder: Path, chat: bool) -> Path:
    """A llama of some thousand weights whose tokens are letters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ :,.-\n", "</s>", "<unk>"]
    inner = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = CHAT if chat else None
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


def test_noise_is_rejected_and_told(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model", chat=False)
    report = write_captions(["pug"], tmp_path / "captions.json", llm=f"transformers:{folder}", per_class=1)
    assert [entry.label for entry in report.missing] == ["pug"]
    assert report.questions == 12
    assert not report.summary.captions
    assert sum(report.summary.rejected.values()) == 12

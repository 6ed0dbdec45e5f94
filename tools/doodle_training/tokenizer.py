"""A stock CLIP tokenizer with a token for every word of the doodle world."""

import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from doodle_training.captions import vocabulary

END_OF_WORD = "</w>"


def _byte_alphabet() -> list[str]:
    """CLIP's printable stand-ins for the 256 bytes, in its own order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(hidden))]


def _merges() -> list[tuple[str, str]]:
    """Byte-pair merges that spell each word of the vocabulary out into one token."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=5000, min_frequency=2, end_of_word_suffix=END_OF_WORD, show_progress=False
    )
    bpe.train_from_iterator([" ".join(vocabulary())] * 3, trainer)
    return [(left, right) for left, right in json.loads(bpe.to_str())["model"]["merges"]]


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    alphabet, merges = _byte_alphabet(), _merges()
    tokens = [*alphabet, *(letter + END_OF_WORD for letter in alphabet)]
    tokens += [left + right for left, right in merges]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    # from_pretrained would prefer a stale tokenizer.json over new vocabulary files.
    (folder / "tokenizer.json").unlink(missing_ok=True)
    CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)

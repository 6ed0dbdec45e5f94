"""Kolors of the real classes and layout, tiny and with random weights, on disk."""

from io import BytesIO
from pathlib import Path

import sentencepiece
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, KolorsPipeline, UNet2DConditionModel
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from tests.generation.tiny import save_adapter

from dalda.models.presets import Preset

WIDTH = 16
WORDS = ("a photo of a red green white car in snow at sea on wet grass", "low quality", "a ca")


def save_tokenizer(folder: Path) -> ChatGLMTokenizer:
    """A small vocabulary, trained on WORDS."""
    trained = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(WORDS * 4),
        model_writer=trained,
        vocab_size=50,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(trained.getvalue())
    return ChatGLMTokenizer(str(folder / "tokenizer.model"))


def save_kolors(folder: Path, kind: str = "plain") -> Preset:
    """FOLDER/model and FOLDER/adapter, of one of the kinds in `tiny.KINDS`."""
    torch.manual_seed(0)
    tokenizer = save_tokenizer(folder / "vocabulary")
    text = ChatGLMModel.config_class(
        num_layers=2,
        padded_vocab_size=tokenizer.vocab_size + 1,
        hidden_size=WIDTH,
        ffn_hidden_size=32,
        kv_channels=8,
        num_attention_heads=2,
        multi_query_attention=True,
        multi_query_group_num=1,
        add_qkv_bias=True,
        original_rope=True,
        seq_length=256,
    )
    encoder = ChatGLMModel(text)
    for weight in encoder.parameters():  # its class leaves them as the memory was
        torch.nn.init.normal_(weight, std=0.3)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=2 * WIDTH,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="text_proj",
        attention_head_dim=2,
        norm_num_groups=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
    )
    KolorsPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
        ),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.014,
            beta_schedule="scaled_linear",
            num_train_timesteps=1100,
            steps_offset=1,
            timestep_spacing="leading",
        ),
        force_zeros_for_empty_prompt=True,
    ).save_pretrained(folder / "model")
    save_adapter(unet, folder / "adapter", kind)
    return Preset(
        model=str(folder / "model"),
        adapter=str(folder / "adapter"),
        adapter_folder=".",
        adapter_file="tiny.safetensors",
        image_encoder="image_encoder",
        clip="",
        scheduler="euler",
    )

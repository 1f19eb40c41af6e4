"""A Stable Diffusion pipeline of tiny random components, and small networks to use in it."""

import json
import re
from pathlib import Path

import torch

import vaezoo

LDM = """
summary: A small network as AutoencoderKL has them.
image: {channels: 3}
latent: {kind: gaussian, channels: 4}
shared: {norm: group, groups: 8, eps: 1.0e-6, act: silu, skip: auto}

encoder:
  - {block: conv, out: 16, kernel: 3}
  - {block: down, out: 16, layers: 1, resample: conv_3x3_asymmetric}
  - {block: down, out: 32, layers: 1, resample: null}
  - {block: mid, out: 32, layers: 1, heads: 1}
  - {block: head, out: moments, kernel: 3}
  - {block: conv, out: moments, kernel: 1}

decoder:
  - {block: conv, out: latent, kernel: 1}
  - {block: conv, out: 32, kernel: 3}
  - {block: mid, out: 32, layers: 1, heads: 1}
  - {block: up, out: 32, layers: 2, resample: null}
  - {block: up, out: 16, layers: 2, resample: nearest_conv_3x3}
  - {block: head, out: image, kernel: 3}
"""

DOCUMENTED = """
summary: A small network that no class of diffusers has.
image: {channels: 3}
latent: {kind: gaussian, channels: 4}
shared: {norm: group, groups: 8, eps: 1.0e-5, act: silu, skip: conv}

encoder:
  - {block: conv, out: 16, kernel: 3}
  - {block: down, out: 16, layers: 1, resample: conv_4x4}
  - {block: mid, out: 16, layers: 1, heads: 2}
  - {block: head, out: moments, kernel: 3}

decoder:
  - {block: conv, out: 16, kernel: 3}
  - {block: mid, out: 16, layers: 1, heads: 2}
  - {block: up, out: 16, layers: 1, resample: conv_transpose_4x4}
  - {block: head, out: image, kernel: 3}
"""

DETERMINISTIC = LDM.replace("kind: gaussian", "kind: deterministic").replace("small", "small deterministic")

# our key -> AutoencoderKL's, written by hand so that it proves the layout rather than repeats it
_NAMES = [
    (r"encoder\.0", "encoder.conv_in"),
    (r"encoder\.([12])\.layers", lambda m: f"encoder.down_blocks.{int(m[1]) - 1}.resnets"),
    (r"encoder\.1\.resample", "encoder.down_blocks.0.downsamplers.0.conv"),
    (r"encoder\.5", "quant_conv"),
    (r"decoder\.0", "post_quant_conv"),
    (r"decoder\.1", "decoder.conv_in"),
    (r"decoder\.([34])\.layers", lambda m: f"decoder.up_blocks.{int(m[1]) - 3}.resnets"),
    (r"decoder\.4\.resample", "decoder.up_blocks.0.upsamplers.0.conv"),
    (r"encoder\.3|(decoder)\.2", lambda m: f"{m[1] or 'encoder'}.mid_block"),
    (r"mid_block\.layers", "mid_block.resnets"),
    (r"encoder\.4|(decoder)\.5", lambda m: f"{m[1] or 'encoder'}.end"),
    (r"end\.norm", "conv_norm_out"),
    (r"end\.conv", "conv_out"),
    (r"attentions\.0\.norm", "attentions.0.group_norm"),
    (r"attentions\.0\.proj", "attentions.0.to_out.0"),
    (r"\.skip\.", ".conv_shortcut."),
]


def small(folder: Path, text: str, **stats) -> vaezoo.VAE:
    """Return a network from YAML text with random weights, norms and biases, and latent statistics."""
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    vae = vaezoo.create(path)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    vae.latent_stats = vaezoo.LatentStats(**stats)
    return vae


def twin(vae: vaezoo.VAE):
    """Return the AutoencoderKL of diffusers with the weights of a network of `LDM`."""
    from diffusers import AutoencoderKL

    levels = 2
    theirs = AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        scaling_factor=vae.latent_stats.scale,
        shift_factor=vae.latent_stats.shift,
    )
    state = {}
    for key, tensor in vae.state_dict().items():
        for pattern, name in _NAMES:
            key = re.sub(pattern, name, key)
        if ".qkv." in key:
            state |= {key.replace("qkv", f"to_{name}"): part for name, part in zip("qkv", tensor.chunk(3), strict=True)}
        else:
            state[key] = tensor
    theirs.load_state_dict(state, strict=True)
    return theirs.eval()


def parts(folder: Path) -> dict:
    """Return the other components of a `StableDiffusionPipeline`, tiny and random, for latents of 4 channels."""
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = _tokenizer(folder)
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    return {
        "text_encoder": CLIPTextModel(text).eval(),
        "tokenizer": tokenizer,
        "unet": unet.eval(),
        "scheduler": DDIMScheduler(clip_sample=False, steps_offset=1),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def _tokenizer(folder: Path):
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder = folder / "tokenizer"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)

"""AutoencoderDC: residual layers with the norm last, EfficientViT layers, and resamplers with shortcuts.

Its norms have an eps of 1e-5.

Source: huggingface/diffusers@58eb52c0 `src/diffusers/models/autoencoders/autoencoder_dc.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from vaezoo.formats.diffusers import autoencoder
from vaezoo.formats.diffusers.autoencoder import Latent, Rows, Scale, Widths, WritableConfig
from vaezoo.specs.marks import Between
from vaezoo.specs.model import BlockSpec, ModelSpec
from vaezoo.specs.stats import LatentStats

DOWN = {"ResBlock": "dc_down", "EfficientViTBlock": "vit_down"}
UP = {"ResBlock": "dc_up", "EfficientViTBlock": "vit_up"}
NORMS = {"rms_norm": "rms", "batch_norm": "batch"}
DOWNSAMPLERS = {
    "pixel_unshuffle": "conv_3x3_unshuffle_average",
    "conv": "conv_3x3_average",
    "Conv": "conv_3x3_average",
}
UPSAMPLERS = {"pixel_shuffle": "conv_3x3_shuffle_duplicate", "interpolate": "nearest_conv_3x3_duplicate"}
STEMS = {"pixel_unshuffle": "conv_3x3_unshuffle"}  # resamplers next to the image, without a shortcut
TAILS = {"pixel_shuffle": "conv_3x3_shuffle", "interpolate": "nearest_conv_3x3"}

BlockType = Literal["ResBlock", "EfficientViTBlock"]
NormType = Literal["rms_norm", "batch_norm"]
ActType = Literal["silu", "swish", "relu"]
LevelDepths = tuple[Annotated[int, Between(0, 64)], ...]
Scales = tuple[tuple[Annotated[int, Between(1, 31)], ...], ...]


@dataclass(frozen=True, kw_only=True)
class AutoencoderDC(WritableConfig):
    """Keys of diffusers' AutoencoderDC: DC-AE and the autoencoder of SANA."""

    in_channels: int = 3
    latent_channels: Latent = 32
    attention_head_dim: Annotated[int, Between(1, 1_024)] = 32
    encoder_block_types: BlockType | tuple[BlockType, ...] = "ResBlock"
    decoder_block_types: BlockType | tuple[BlockType, ...] = "ResBlock"
    encoder_block_out_channels: Widths = (128, 256, 512, 512, 1024, 1024)
    decoder_block_out_channels: Widths = (128, 256, 512, 512, 1024, 1024)
    encoder_layers_per_block: LevelDepths = (2, 2, 2, 3, 3, 3)
    decoder_layers_per_block: LevelDepths = (3, 3, 3, 3, 3, 3)
    encoder_qkv_multiscales: Scales = ((), (), (), (5,), (5,), (5,))
    decoder_qkv_multiscales: Scales = ((), (), (), (5,), (5,), (5,))
    upsample_block_type: Annotated[str, UPSAMPLERS] = "pixel_shuffle"
    downsample_block_type: Annotated[str, DOWNSAMPLERS] = "pixel_unshuffle"
    decoder_norm_types: NormType | tuple[NormType, ...] = "rms_norm"
    decoder_act_fns: ActType | tuple[ActType, ...] = "silu"
    encoder_out_shortcut: bool = True
    decoder_in_shortcut: bool = True
    decoder_conv_act_fn: ActType = "relu"
    scaling_factor: Scale = 1.0

    def problem(self) -> str | None:
        lists = ("block_types", "layers_per_block", "qkv_multiscales")
        return (
            self._uneven_half("encoder", *lists)
            or self._uneven_half("decoder", *lists, "norm_types", "act_fns")
            or self._empty("encoder_layers_per_block")
            or self._empty("decoder_layers_per_block")
            or self._stem()
            or self._vit_norm()
        )

    def _uneven_half(self, half: str, *names: str) -> str | None:
        lists = [f"{half}_{name}" for name in names if not isinstance(getattr(self, f"{half}_{name}"), str)]
        return self.uneven(f"{half}_block_out_channels", *lists)

    def _empty(self, key: str) -> str | None:
        depths = getattr(self, key)
        if 0 in depths[1:] or depths == (0,):
            return f"{key}: a level without layers; only the first of several levels may be empty"
        return None

    def _stem(self) -> str | None:
        if self.encoder_layers_per_block[0] or self.downsample_block_type in STEMS:
            return None
        kind = self.downsample_block_type
        return (
            f"downsample_block_type: {kind!r} as a stem (encoder_layers_per_block[0] is 0) is not supported; must be "
            f"{' or '.join(map(repr, STEMS))}"
        )

    def _vit_norm(self) -> str | None:
        kinds, norms = self._levels("decoder_block_types"), self._levels("decoder_norm_types")
        if ("EfficientViTBlock", "batch_norm") not in zip(kinds, norms, strict=True):
            return None
        return "decoder_norm_types: 'batch_norm' for an EfficientViTBlock is not supported; must be 'rms_norm'"

    def _levels(self, key: str) -> tuple[Any, ...]:
        """Return the value of a key for each level."""
        value, half = getattr(self, key), key.partition("_")[0]
        return (value,) * len(getattr(self, f"{half}_block_out_channels")) if isinstance(value, str) else value

    def network(self) -> dict[str, Any]:
        return {
            "image": {"channels": self.in_channels},
            "latent": {"kind": "deterministic", "channels": self.latent_channels},
            "shared": {"norm": "rms", "groups": None, "eps": 1e-5, "act": "silu"},
            "encoder": self._encoder(),
            "decoder": self._decoder(),
        }

    def _encoder(self) -> Rows:
        widths, depths = self.encoder_block_out_channels, self.encoder_layers_per_block
        kinds, kernels = self._levels("encoder_block_types"), self.encoder_qkv_multiscales
        if depths[0]:
            rows: Rows = [{"block": "conv", "out": widths[0], "kernel": 3}]
        else:
            rows = [{"block": "downsample", "out": widths[1], "resample": STEMS[self.downsample_block_type]}]
        for i in range(0 if depths[0] else 1, len(widths)):
            row = {"block": DOWN[kinds[i]], "layers": depths[i], "resample": None, **self._vit(kinds[i], kernels[i])}
            if i < len(widths) - 1:
                row |= {"resample": DOWNSAMPLERS[self.downsample_block_type], "resample_out": widths[i + 1]}
            rows.append(row)
        shortcut = "average" if self.encoder_out_shortcut else None
        return [*rows, {"block": "conv", "out": "moments", "kernel": 3, "shortcut": shortcut}]

    def _decoder(self) -> Rows:
        widths, depths = self.decoder_block_out_channels, self.decoder_layers_per_block
        kinds, kernels = self._levels("decoder_block_types"), self.decoder_qkv_multiscales
        norms, acts = self._levels("decoder_norm_types"), self._levels("decoder_act_fns")
        shortcut = "duplicate" if self.decoder_in_shortcut else None
        rows: Rows = [{"block": "conv", "out": widths[-1], "kernel": 3, "shortcut": shortcut}]
        for i in reversed(range(0 if depths[0] else 1, len(widths))):
            row = {"block": UP[kinds[i]], "layers": depths[i], "resample": None, **self._vit(kinds[i], kernels[i])}
            if kinds[i] == "ResBlock":
                row |= {"norm": NORMS[norms[i]], "act": autoencoder.ACTS[acts[i]]}
            if i < len(widths) - 1:
                row |= {"resample": UPSAMPLERS[self.upsample_block_type], "resample_out": widths[i]}
            rows.append(row)
        act = autoencoder.ACTS[self.decoder_conv_act_fn]
        if depths[0]:
            return [*rows, {"block": "head", "out": "image", "kernel": 3, "act": act}]
        tail = {"block": "upsample", "out": "image", "resample": TAILS[self.upsample_block_type]}
        return [*rows, {"block": "norm_act", "act": act}, tail]

    def _vit(self, kind: str, kernels: tuple[int, ...]) -> dict[str, Any]:
        """Return the arguments that only EfficientViT blocks have."""
        if kind != "EfficientViTBlock":
            return {}
        return {"head_channels": self.attention_head_dim, "kernels": list(kernels), "expand": 4}

    def stats(self) -> LatentStats | None:
        return autoencoder.scaled(self.scaling_factor)

    @classmethod
    def keys_of(cls, spec: ModelSpec, stats: LatentStats | None) -> dict[str, Any]:
        down = [row for row in spec.encoder if row.block in DOWN.values()]
        up = [row for row in reversed(spec.decoder) if row.block in UP.values()]  # as in diffusers, from the image on
        narrow = [row.arguments.get("resample_out") for row in down[:-1]]
        widen = [row.arguments.get("resample_out") for row in up[:-1]]
        stem, tail = spec.encoder[0].block == "downsample", spec.decoder[-1].block == "upsample"
        vit = [row.arguments for row in down + up if row.block in ("vit_down", "vit_up")]
        norms = {ours: theirs for theirs, ours in NORMS.items()}
        last = [row.arguments.get("act") for row in spec.decoder if row.block in ("head", "norm_act")]
        return {
            "in_channels": spec.image.channels,
            "latent_channels": spec.latent.channels,
            "attention_head_dim": autoencoder.first(vit, "head_channels"),
            **_half_keys("encoder", down, [spec.encoder[0].arguments.get("out"), *narrow], stem, DOWN),
            **_half_keys("decoder", up, [*widen, spec.decoder[0].arguments.get("out")], tail, UP),
            "downsample_block_type": _resampler(DOWNSAMPLERS, down) or _resampler(STEMS, spec.encoder),
            "upsample_block_type": _resampler(UPSAMPLERS, up) or _resampler(TAILS, spec.decoder),
            "decoder_norm_types": [*["rms_norm"] * tail, *(norms.get(row.arguments["norm"]) for row in up)],
            "decoder_act_fns": [*["silu"] * tail, *(row.arguments["act"] for row in up)],
            "encoder_out_shortcut": "shortcut" in spec.encoder[-1].arguments,
            "decoder_in_shortcut": "shortcut" in spec.decoder[0].arguments,
            "decoder_conv_act_fn": last[-1] if last else None,
            "scaling_factor": autoencoder.scaling_of(stats),
        }


def _half_keys(
    half: str, rows: list[BlockSpec], widths: list[Any], empty: bool, blocks: dict[str, str]
) -> dict[str, Any]:
    """Return the keys of one half; if the first level is `empty`, a resampler replaces it, and its width is ignored."""
    names = {ours: theirs for theirs, ours in blocks.items()}
    return {
        f"{half}_block_types": ["ResBlock"] * empty + [names[row.block] for row in rows],
        f"{half}_block_out_channels": widths[:1] * empty + widths,
        f"{half}_layers_per_block": [0] * empty + [row.arguments["layers"] for row in rows],
        f"{half}_qkv_multiscales": [[]] * empty + [list(row.arguments.get("kernels", ())) for row in rows],
    }


def _resampler(table: dict[str, str], rows: Iterable[BlockSpec]) -> str | None:
    """Return the name in diffusers of the first resampler of a table that a row has."""
    used = {row.arguments.get("resample") for row in rows}
    return next((theirs for theirs, ours in table.items() if ours in used), None)

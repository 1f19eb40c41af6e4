"""Reference implementations behind one interface: classes of diffusers, and our second implementations."""

import re

import diffusers
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import vaezoo
from support import second_cosmos, second_tiny
from support.diffusers_published import ASYMMETRIC, VIDEO, X2
from vaezoo.formats.diffusers.classes import config_from_spec
from vaezoo.nn.schema import change_spec

# The configurations of classes that vaezoo reads only.
PUBLISHED = {"asym_x1_5_f8_z4": ASYMMETRIC, "asym_x2_f8_z4": {**ASYMMETRIC, **X2}, "qwenimage_f8_z16": VIDEO}
STATS = {
    "AutoencoderKL": vaezoo.LatentStats(scale=0.36, shift=0.12),
    "AutoencoderTiny": vaezoo.LatentStats(scale=1.2, shift=-0.3),
    "AutoencoderDC": vaezoo.LatentStats(scale=0.41),
    "AutoencoderKLHunyuanImage": vaezoo.LatentStats(scale=0.75),
    "AutoencoderKLFlux2": vaezoo.LatentStats(pack=2, eps=1e-4),  # mean and variance are tensors among the weights
}


class Original:
    """A second implementation of ours, with `encode` to moments and `decode`; its file has the original's names."""

    layout = "ldm"
    clamps = False

    def __init__(self, name: str, exported: dict | None = None) -> None:
        """Weights drawn anew, or those of `exported` strictly."""
        self.name = name
        with torch.device("meta"):
            self.model = self.make().eval()
        if exported is None:
            draw(self.model.to_empty(device="cpu"))
        else:
            self.model.load_state_dict(exported, strict=True, assign=True)

    def make(self) -> nn.Module:
        return second_cosmos.NETWORKS[self.name]()

    def save(self, folder):
        """Write it to `folder`; gives the names that open it here, each with its arguments."""
        save_file(self.model.state_dict(), folder / "original.safetensors")
        return [(f"file:{folder / 'original.safetensors'}", {"network": self.name, "layout": self.layout})]

    @classmethod
    def exported(cls, vae: vaezoo.VAE, folder) -> dict:
        """The tensors of `vae` as exported for the original."""
        vaezoo.export_checkpoint(vae, folder / "exported.safetensors", layout=cls.layout)
        return load_file(folder / "exported.safetensors")

    def moments(self, images):
        return self.model.encode(images)

    def decode(self, z):
        return self.model.decode(z)

    def normalized(self, z):
        """Return the latents a diffusion model receives, or None if the original has no latent statistics."""


class Tiny(Original):
    """The same, in two files."""

    layout = "taesd"

    def make(self):
        return second_tiny.NETWORKS[self.name]()

    def save(self, folder):
        paths = [folder / f"original_{half}.safetensors" for half in ("encoder", "decoder")]
        save_file(self.model.encoder.state_dict(), paths[0])
        save_file(self.model.decoder.state_dict(), paths[1])
        return [(f"file:{paths[0]},{paths[1]}", {"network": self.name, "layout": self.layout})]

    @classmethod
    def exported(cls, vae, folder):
        paths = {half: folder / f"exported_{half}.safetensors" for half in ("encoder", "decoder")}
        vaezoo.export_checkpoint(vae, f"{paths['encoder']},{paths['decoder']}", layout=cls.layout)
        return {f"{half}.{name}": tensor for half, path in paths.items() for name, tensor in load_file(path).items()}


class Diffusers(Original):
    """A class of diffusers, configured as vaezoo exports the network, or as published where it does not."""

    layout = "diffusers"

    def make(self):
        spec = vaezoo.get_spec(self.name)
        kind = spec.expect.proof.diffusers
        config = PUBLISHED.get(self.name) or config_from_spec(spec, STATS[kind])
        assert config.get("_class_name", kind) == kind
        return getattr(diffusers, kind).from_config(config)

    def save(self, folder):
        self.model.save_pretrained(folder)
        file = folder / "diffusion_pytorch_model.safetensors"
        by_name = {"network": self.name, "layout": self.layout}
        return [(f"local-dir:{folder}", {"pretrained": True}), (f"file:{file}", by_name)]

    def moments(self, images):
        found = self.model.encode(images, return_dict=False)[0]
        return found if isinstance(found, torch.Tensor) else found.parameters

    def decode(self, z):
        return self.model.decode(z, return_dict=False)[0]

    def normalized(self, z):
        """Normalize latents as the pipelines of the class do."""
        config = self.model.config
        if "batch_norm_eps" in config:
            b, c, h, w = z.shape
            packed = z.view(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, w // 2)
            mean, var = (t.view(1, -1, 1, 1) for t in (self.model.bn.running_mean, self.model.bn.running_var))
            return (packed - mean) / torch.sqrt(var + config.batch_norm_eps)
        if "latents_mean" in config and config.latents_mean:
            mean, std = (torch.tensor(config[key]).view(1, -1, 1, 1) for key in ("latents_mean", "latents_std"))
            return (z - mean) / std
        return (z - (config.get("shift_factor") or 0.0)) * config.scaling_factor


class Frames(Diffusers):
    """A video class, used with one frame; its decoder clamps."""

    clamps = True

    def moments(self, images):
        return super().moments(images.unsqueeze(2)).squeeze(2)

    def decode(self, z):
        return super().decode(z.unsqueeze(2)).squeeze(2)


class Padded(Diffusers):
    """AutoencoderKL with `padding_mode` set on every convolution that pads, as a model card says."""

    def make(self):
        spec = vaezoo.get_spec(self.name)
        model = diffusers.AutoencoderKL.from_config(config_from_spec(change_spec(spec, {"*.*.padding": "zeros"})))
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.padding != (0, 0):
                module.padding_mode = padding_of(spec)
        return model

    def save(self, folder):
        return super().save(folder)[1:]  # its configuration does not say how it pads

    def normalized(self, z):
        return None


def padding_of(spec: vaezoo.ModelSpec) -> str:
    """Return the padding mode that all rows of a network share."""
    [padding] = {row.arguments.get("padding", "zeros") for row in (*spec.encoder, *spec.decoder)}
    return padding


def original_of(name: str) -> type[Original]:
    """Return the reference that the `proof` in a network's file names."""
    spec = vaezoo.get_spec(name)
    if spec.expect.proof.diffusers == "AutoencoderKLQwenImage":
        return Frames
    if spec.expect.proof.diffusers:
        return Diffusers if padding_of(spec) == "zeros" else Padded
    return Tiny if name in second_tiny.NETWORKS else Original


@torch.no_grad()
def draw(model: nn.Module) -> None:
    """Give every tensor values of its own, norms, biases and statistics too, and every norm small ones to work on."""
    quiet = {f"{layer}.{last}" for layer in before_norms(model) for last in ("weight", "bias")}
    for name, tensor in model.state_dict().items():
        last = name.rpartition(".")[2]
        if not tensor.is_floating_point():
            tensor.zero_()  # how many batches a batch norm has seen
        elif last == "running_var":
            tensor.uniform_(0.005, 0.015)
        elif last == "gamma" or (last == "weight" and tensor.ndim == 1):
            tensor.normal_(1.0, 0.2)
        elif tensor.ndim == 1:
            tensor.normal_(0.0, 0.03)
        else:
            tensor.normal_(0.0, (tensor.shape[0] / tensor.numel()) ** 0.5)
        if name in quiet:
            tensor.mul_(0.03)


def before_norms(model: nn.Module) -> list[str]:
    """Layers whose results norms see: they are made small, so that the eps of each norm shows in what comes out.

    Not those that resample what is small already, or the levels above would be lost in those below.
    """
    layers = dict(model.named_modules())
    if any("norm" in name for name in layers):
        outputs = re.compile(r".*\.(proj|proj_out|to_out|to_out\.0)")  # of attention
        around = {n for n, m in layers.items() if isinstance(m, (nn.Conv2d, nn.Conv3d)) and m.kernel_size[-1] > 1}
        return [n for n in layers if outputs.fullmatch(n) or (n in around and "sample" not in n)]
    return [name for name in layers if name.endswith("pool.0")]  # TAEF2, whose other layers no norm follows

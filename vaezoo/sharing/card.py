"""The model card: facts about a network, a measured reconstruction, and the code that loads it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCardData
from torch import Tensor

from vaezoo.analysis.costs import costs
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.inference.reconstruct import reconstruct
from vaezoo.io.captions import DIFFERENCE, captioned, reconstruction_caption
from vaezoo.io.escape import markdown_code, markdown_text
from vaezoo.io.images import load_image
from vaezoo.io.sheets import difference, tile
from vaezoo.nn.blocks import BLOCKS
from vaezoo.nn.own_blocks import BlockOrigin, origins_of
from vaezoo.nn.vae import VAE
from vaezoo.specs.catalog import sample_photos
from vaezoo.specs.model import HALVES
from vaezoo.specs.render import to_yaml
from vaezoo.specs.source import WeightsSource

PICTURE = "reconstruction.jpg"


class SampleReconstructions(NamedTuple):
    """Reconstructions of the bundled sample photos.

    Args:
        picture: Photos, reconstructions and differences side by side, of shape (3, H, W), values in [-1, 1].
        psnr: Mean PSNR in dB.
        images: Number of photos.
    """

    picture: Tensor
    psnr: float
    images: int


def show_samples(vae: VAE, track: Callable[[Sequence[Path]], Iterable[Path]] = iter) -> SampleReconstructions | None:
    """Reconstruct the bundled sample photos, over which `track` iterates; `None` if the model is not for RGB images."""
    if vae.spec.image.channels != 3:
        return None
    rows, values = [], []
    for path in track(sample_photos()):
        images = load_image(path)
        reconstruction = reconstruct(vae, images)
        values.append(psnr(images, reconstruction).item())
        shown = (images, reconstruction, difference(images, reconstruction))
        texts = (path.stem, reconstruction_caption(values[-1]), DIFFERENCE)
        rows.append([captioned(image, text) for image, text in zip(shown, texts, strict=True)])
    return SampleReconstructions(tile(rows), sum(values) / len(values), len(values))


def card_text(
    vae: VAE,
    license: str | None,
    repo: str | None = None,
    shown: SampleReconstructions | None = None,
    diffusers: Mapping[str, Any] | None = None,
    training: str | None = None,
) -> str:
    """Write the text of a model card with the front matter of the Hub.

    Args:
        vae: The model.
        license: License id of the Hub, such as "mit"; `None` leaves it open.
        repo: Repository on the Hub, `organization/name`, for the code that loads the model; `None` means a folder.
        shown: Reconstructions of the sample photos; `None` leaves out picture and PSNR.
        diffusers: Config for diffusers; `None` if there is no such export.
        training: Markdown about the training; `None` leaves that section out.
    """
    data = ModelCardData(
        library_name="vaezoo",
        license=license,
        pipeline_tag="image-to-image",
        tags=["vae", "autoencoder", f"f{vae.downscale}", f"z{vae.latent_channels}"],
        model_name=_title(vae, repo),
        eval_results=[_result(shown)] if shown else None,
    )
    parts = [
        f"# {markdown_text(_title(vae, repo))}",
        markdown_text(vae.spec.summary),
        _usage(repo, origins_of(vae.spec)),
        _diffusers_usage(repo, diffusers),
        _picture(shown),
        _facts(vae),
        _network(vae),
        f"## Training\n\n{training}" if training else "",
    ]
    body = "\n\n".join(part for part in parts if part)
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n"


def _title(vae: VAE, repo: str | None) -> str:
    return repo.partition("/")[2] if repo else (vae.spec.name or "unnamed VAE")


def _result(shown: SampleReconstructions) -> EvalResult:
    return EvalResult(
        task_type="image-to-image",
        dataset_type="vaezoo-samples",
        dataset_name=f"vaezoo sample photos ({shown.images}, 256x256)",
        metric_type="psnr",
        metric_name="PSNR (dB)",
        metric_value=round(shown.psnr, 2),
    )


def _usage(repo: str | None, blocks: Mapping[str, BlockOrigin]) -> str:
    name = f"hf-hub:{repo}" if repo else "local-dir:FOLDER"
    modules = dict.fromkeys(origin.module for origin in blocks.values() if origin.package is None)
    lines = [
        *(f"The block `{block}` is of {_home(origin)}, which must be installed.\n" for block, origin in blocks.items()),
        "```python",
        f"import {', '.join(['torch', 'vaezoo', *modules])}",
        "",
        f'vae = vaezoo.create("{name}", pretrained=True)',
        'images = vaezoo.pad_to_multiple(vaezoo.load_image("photo.jpg"), vae.size_multiple)',
        "with torch.inference_mode():",
        "    z = vae.encode(images).mode()",
        '    vaezoo.to_pil(vae.decode(z)).save("reconstruction.png")',
        "```",
    ]
    return "\n".join(lines)


def _home(origin: BlockOrigin) -> str:
    return f"the package `{origin.package}`" if origin.package else f"the module `{origin.module}`"


def _diffusers_usage(repo: str | None, config: Mapping[str, Any] | None) -> str:
    if config is None:
        return ""
    name = config["_class_name"]
    lines = [
        "The same weights for diffusers, in the folder `vae`:",
        "",
        "```python",
        f"from diffusers import {name}",
        "",
        f'vae = {name}.from_pretrained("{repo or "FOLDER"}", subfolder="vae")',
        "```",
    ]
    return "\n".join(lines)


def _picture(shown: SampleReconstructions | None) -> str:
    if shown is None:
        return ""
    caption = f"Input, reconstruction (posterior mode), difference x4. Mean PSNR of these {shown.images} photos"
    return f"![reconstruction]({PICTURE})\n\n{caption}: {shown.psnr:.2f} dB."


def _facts(vae: VAE) -> str:
    counted = costs(vae.spec, 32 * vae.size_multiple)
    side = f"{counted.height}x{counted.width}"
    rows: Sequence[tuple[str, str]] = [
        ("pixels per latent pixel and side", str(vae.downscale)),
        ("latent channels", str(vae.latent_channels)),
        *((f"{half}: parameters", f"{counted.params(half):,}") for half in HALVES),
        *((f"{half}: GMACs at {side}", f"{counted.gmacs(half):.1f}") for half in HALVES),
        ("spec hash", f"`{vae.spec.hash}`"),
        *([("weights loaded from", _public_source(vae.source))] if vae.source else []),
    ]
    if vae.latent_stats:
        rows = [*rows, *((f"latents: {k}", str(v)) for k, v in vae.latent_stats.to_dict().items())]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows)])


def _public_source(source: WeightsSource) -> str:
    """The source without paths of this machine: the record or repository, else the SHA-256."""
    if source.tag or source.repo:
        return markdown_code(str(replace(source, name=f"{source.network}.{source.tag}") if source.tag else source))
    return f"a local file, sha256 `{source.sha256}`"


def _network(vae: VAE) -> str:
    return f"The network:\n\n```yaml\n{to_yaml(vae.spec, BLOCKS)}```"

"""The published folder of a run: written from its averaged weights, and compared with its last checkpoint."""

from pathlib import Path

import torch

from vaezoo.distributed import ProcessGroup
from vaezoo.errors import CheckpointError, TrainingError, VaezooError
from vaezoo.nn.vae import VAE
from vaezoo.sharing.card import card_text
from vaezoo.sharing.save import write_folder
from vaezoo.training.artifacts import training_text
from vaezoo.training.checkpoint import average_of, checkpoints
from vaezoo.training.state import State
from vaezoo.weights.config_json import CARD, CONFIG, PublishedNetwork, read_network
from vaezoo.weights.snapshot import pending_name
from vaezoo.weights.write_checkpoint import check_savable
from vaezoo.zoo.create import create


def publish(vae: VAE, run: Path, step: int) -> None:
    """Write the published folder of a run.

    Args:
        vae: Network with averaged weights and their latent statistics.
        run: Run folder.
        step: Step of the weights, which `config.json` records.

    Raises:
        CheckpointError: If the weights are not finite.
        FileError: If the folder cannot be written.
    """
    check_savable(vae)
    write_folder(vae, run, card_text(vae, None, training=training_text(run)), training_step=step)


def check_finite(state: State, group: ProcessGroup) -> None:
    """Raise `TrainingError` in all processes if trained or averaged weights are not finite, so nothing is saved."""
    fault = ""
    if group.is_first:
        try:
            check_savable(state.averaged_vae)
            check_savable(state.task.vae)
        except CheckpointError as error:
            fault = str(error)
    if fault := group.gather(fault)[0]:
        raise TrainingError(
            f"step {state.progress.step}: {fault}. Start another run with a lower optimizer.lr; if the weights of this "
            "run were good before, start from them: vaezoo train RUN --out NEW"
        )


def is_published(vae: VAE, run: Path, step: int) -> bool:
    """Return whether the published folder of a run loads and has the card, step and weights of its last checkpoint.

    Args:
        vae: Network with the averaged weights of the checkpoint.
        run: Run folder.
        step: Step of the checkpoint.
    """
    try:
        network = read_network(run / CONFIG)
        found = create(f"local-dir:{run}", pretrained=True).state_dict()
        card = (run / CARD).read_text(encoding="utf-8")
    except (VaezooError, OSError, UnicodeDecodeError):  # damaged or incomplete, so it is written again
        return False
    if not isinstance(network, PublishedNetwork) or network.config.training_step != step:
        return False
    if any(run.glob(pending_name("*"))):  # an interrupted save, whose weights load under this name
        return False
    expected = vae.state_dict()
    return (
        (training_text(run) or "") in card
        and expected.keys() == found.keys()
        and all(torch.equal(tensor.cpu(), found[name]) for name, tensor in expected.items())
    )


def published_network(run: Path) -> VAE:
    """Create the network of a run folder with its latent statistics, but not its weights, which a checkpoint holds."""
    vae = create(f"local-dir:{run}")
    network = read_network(run / CONFIG)
    if isinstance(network, PublishedNetwork):  # vaezoo wrote it, not diffusers
        vae.latent_stats = network.config.latent_stats
    return vae


def averaged_vae(run: Path, device: torch.device) -> VAE:
    """Create the network of a run with the averaged weights of its last checkpoint.

    Args:
        run: Run folder with a checkpoint.
        device: Device of the weights.

    Returns:
        The network in eval mode.

    Raises:
        CheckpointError: If the checkpoint is damaged.
        FileError: If `config.json` is missing.
    """
    vae = published_network(run)
    vae.load_state_dict(average_of(checkpoints(run)[-1]))
    return vae.to(device).eval()

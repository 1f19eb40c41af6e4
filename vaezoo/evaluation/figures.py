"""The figures of a whole set of images, from the tally of it."""

from vaezoo.evaluation.latents.neighbors import knn_consistency
from vaezoo.evaluation.nets.frechet import frechet_distance
from vaezoo.evaluation.tally import LATENTS, Tally

NEIGHBORS = 10
Figure = float | int | tuple[float, ...] | None


def basics(tally: Tally) -> dict[str, Figure]:
    """Return mean and standard deviation of the latents, and the standard deviation of the posterior."""
    return {
        "latent_mean": tuple(tally.channels.mean().tolist()),
        "latent_std": tuple(tally.channels.std().tolist()),
        "posterior_std": tally.posterior.std().mean().item(),
    }


def panel(tally: Tally) -> dict[str, Figure]:
    """Return all figures of the latents."""
    channels, posterior = tally.channels, tally.posterior
    correlation, kl = channels.correlation().abs(), posterior.kl()
    return {
        **basics(tally),
        "latent_skew": tuple(channels.skew().tolist()),
        "latent_kurtosis": tuple(channels.kurtosis().tolist()),
        "latent_absmax": tuple(channels.absmax().tolist()),
        "latent_correlation": correlation.fill_diagonal_(0).max().item() if len(correlation) > 1 else None,
        "kl": None if kl is None else tuple(kl.tolist()),
        "active_units": channels.active_units(),
        "posterior_share": tuple((posterior.std() / channels.std()).tolist()),
        "spectrum_slope": tally.spectrum.slope(),
        "high_share": tally.spectrum.high_share(),
    }


def distance(tally: Tally, name: str) -> float | None:
    """Return the Fréchet distance by the features of a network, or `None` for fewer than two images."""
    ours, theirs = tally.of_images[name], tally.of_reconstructions[name]
    return frechet_distance(ours, theirs) if ours.count > 1 else None


def consistency(tally: Tally, name: str) -> float | None:
    """Return the consistency of nearest neighbors by the features of a network, or `None` for too few images."""
    if tally.of_images[name].count <= NEIGHBORS:
        return None
    return knn_consistency(tally.embedding(LATENTS), tally.embedding(name), NEIGHBORS)

"""An autoregressive prior over a trained run's codes, fitted afterwards: its rate, and its samples."""

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaelab.errors import UserError
from vaelab.evaluation.nll import negative_log_likelihood
from vaelab.evaluation.trained_run import SEED, NotApplicable, TrainedRun, mean_and_error, require
from vaelab.figures.pictures import code_samples
from vaelab.functional.randomness import generator
from vaelab.models.pixelcnn import PixelCNN
from vaelab.models.priors import FittedCodes, Prior, UniformCodes, code_counts
from vaelab.training.callbacks.publish import write_picture
from vaelab.training.code_priors import WITH_CODES, save_code_prior

__all__ = ["CodePrior", "Fit", "fit"]

CHUNK = 500  # images per pass
SMOOTHING = 0.01  # share of uniform codes in the independent prior, as in conf/prior/fitted_codes.yaml
PICTURE = "samples/code_prior.png"


class CodePrior:
    """A :class:`~vaelab.models.PixelCNN` fitted to the codes of training images: the run's rate under it.

    "Neural Discrete Representation Learning" (van den Oord et al., 2017, arXiv:1711.00937) fits such a prior
    once the codes are learned. Encoder, codes and decoder stay as they are, and so does the distortion; the
    rate becomes -log p(codes). Metrics, in nats per test image, with standard errors ``..._se`` over images:

    - ``code_rate_uniform``: n log K, each of K codes equally likely at each of n places;
    - ``code_rate_independent``: under how often training images choose each code at each place;
    - ``code_rate``: under the PixelCNN. ``nats_per_code`` is it divided by n;
    - ``code_rate_gain``: independent less autoregressive, what codes of an image say about each other as far
      as the network has learned it;
    - ``code_rate_train``: under the PixelCNN, of training images. If it is well below ``code_rate``, the
      network has learned them by heart;
    - ``nll_code_prior``: distortion plus ``code_rate``, an upper bound of -log p(x);
      ``nll_code_prior_bits`` is it in bits per dimension, NaN where p(x|z) is no probability of x.

    The network begins as the independent codes, and Adam minimises the mean of -log p(codes). The weights
    kept are those of the epoch that is best on validation images; epoch 0 is the beginning, so that with too
    few images for the network the rate is that of independent codes. The run's folder gets the weights
    (``code_prior.pt``, for ``vaelab.load(run).sample(n, code_prior=True)``) and a picture,
    ``samples/code_prior.png``. The codes of a conditional model have one prior for all labels.

    Args:
        train_images, images: the maximum numbers of training and test images.
        width, layers: of the network.
        epochs: the most; the fit ends earlier after ``patience`` epochs without a better one.
        batch: images per step.
        lr: the learning rate.

    Raises:
        ValueError: a number is too small.
    """

    def __init__(
        self,
        train_images: int = 50_000,
        images: int = 10_000,
        width: int = 64,
        layers: int = 3,
        epochs: int = 30,
        patience: int = 3,
        batch: int = 128,
        lr: float = 1e-3,
    ) -> None:
        require(1, width=width, epochs=epochs, patience=patience, batch=batch)
        require(2, train_images=train_images, images=images)
        require(0, layers=layers)
        if not lr > 0:
            raise ValueError(f"lr must be > 0, got {lr}")
        self.train_images, self.images, self.width, self.layers = train_images, images, width, layers
        self.schedule: dict[str, Any] = {"epochs": epochs, "patience": patience, "batch": batch, "lr": lr}

    def __call__(self, run: TrainedRun) -> dict[str, Any]:
        """Raises NotApplicable for a posterior without codes, and without validation images."""
        posterior: Any = run.model.posterior
        if "codes" not in posterior.provides:
            raise NotApplicable(f"its latents are not codes. {WITH_CODES}")
        limits = {"train": self.train_images, "val": None, "test": self.images}
        codes = {split: codes_of(run, split, limit) for split, limit in limits.items()}
        apart = independent(codes["train"], posterior.number_of_codes)
        network = new_network(posterior, self.width, self.layers)
        density: Any = apart.bind(posterior, run.model.posterior_parameters)
        network.begin_at(density.log_p)
        fitted = fit(
            network.to(run.device),
            codes["train"],
            codes["val"],
            **self.schedule,
            progress=run.progress,
        )
        save_code_prior(run.folder, fitted.network, run.record)
        # a network that no epoch has improved is the independent codes, which its softmax rounds differently
        learned: Prior = fitted.network if fitted.best else apart
        priors = {"uniform": UniformCodes(), "independent": apart, "PixelCNN": learned}
        rates = {name: rates_of(run, prior.to(run.device), codes["test"]) for name, prior in priors.items()}
        labelled = {f"{name}: {rates[name].mean():.1f} nats": prior for name, prior in priors.items()}
        write_picture(run.folder / PICTURE, code_samples(run.model, labelled, run.data.value_range))
        return {
            "metrics": self._metrics(run, codes, rates, learned),
            "protocol": {
                "method": "gated PixelCNN (van den Oord et al., 2016) over the codes of training images, "
                "from independent codes on, at its best epoch on validation images",
                "code_shape": list(posterior.code_shape),
                "number_of_codes": posterior.number_of_codes,
                "epochs": fitted.epochs,
                "best_epoch": fitted.best,
                "train_images": len(codes["train"]),
                "validation_images": len(codes["val"]),
                "images": len(codes["test"]),
                "split": "test",
                "independent": f"frequencies at each place, with a share of {SMOOTHING:g} uniform",
                "convention": "nats per image, summed over places and pixels, averaged over images",
            },
        }

    def _metrics(
        self, run: TrainedRun, codes: dict[str, Tensor], rates: dict[str, Tensor], learned: Prior
    ) -> dict[str, float]:
        rate, images = rates["PixelCNN"], len(codes["test"])
        x, y = run.images("test", self.images), run.labels("test", self.images)
        seen = rates_of(run, learned, codes["train"][:images])
        return {
            "code_rate_uniform": rates["uniform"].mean().item(),
            **mean_and_error("code_rate_independent", rates["independent"]),
            **mean_and_error("code_rate", rate),
            **mean_and_error("nats_per_code", rate / codes["test"].shape[1]),
            **mean_and_error("code_rate_gain", rates["independent"] - rate),
            **mean_and_error("code_rate_train", seen),
            **negative_log_likelihood(
                "nll_code_prior", run.model, x, -rate - distortions(run, x, y, codes["test"])
            ),
        }


# codes and their numbers


@torch.no_grad()
def codes_of(run: TrainedRun, split: str, limit: int | None) -> Tensor:
    """The codes of a split's first images, (N, n), on the CPU."""
    x, y = run.images(split, limit), run.labels(split, limit)
    parts = []
    for index in torch.arange(len(x)).split(CHUNK):
        labels = None if y is None else y[index].to(run.device)
        parts.append(run.model.encode(x[index].to(run.device), labels).codes.cpu())
    return torch.cat(parts)


@torch.no_grad()
def distortions(run: TrainedRun, x: Tensor, y: Tensor | None, codes: Tensor) -> Tensor:
    """-log p(x|z) in nats of images x (N, C, H, W) and their codes (N, n), (N,)."""
    posterior: Any = run.model.posterior
    parts = []
    for index in torch.arange(len(x)).split(CHUNK):
        labels = None if y is None else y[index].to(run.device)
        z = posterior.vectors(codes[index].to(run.device))
        parts.append(-run.model.log_likelihood(x[index].to(run.device), z[None], labels)[0].cpu())
    return torch.cat(parts)


@torch.no_grad()
def rates_of(run: TrainedRun, prior: Prior, codes: Tensor) -> Tensor:
    """-log p(codes) in nats, (N,), of codes (N, n)."""
    density: Any = prior.bind(run.model.posterior, run.model.posterior_parameters)
    return torch.cat([-density.log_prob_of(part.to(run.device)).cpu() for part in codes.split(CHUNK)])


def independent(codes: Tensor, number_of_codes: int) -> FittedCodes:
    """Each place's own frequencies in codes (N, n)."""
    prior = FittedCodes(codes.shape[1], number_of_codes, smoothing=SMOOTHING)
    prior.frequencies.copy_(code_counts(codes, number_of_codes) / len(codes))
    return prior


# the fit


def new_network(posterior: Any, width: int, layers: int) -> PixelCNN:
    """A network for the posterior's codes with the same first weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(SEED, "code prior/weights").initial_seed())
        return PixelCNN(posterior.code_shape, posterior.number_of_codes, width, layers)


class Fit(NamedTuple):
    """What :func:`fit` gives."""

    network: PixelCNN  # with the best epoch's weights
    epochs: int  # that there were
    best: int  # the number of the best one; 0: none was better than the beginning


def fit(
    network: PixelCNN,
    train: Tensor,
    val: Tensor,
    epochs: int,
    patience: int,
    batch: int,
    lr: float,
    progress: Callable[[range, str], Any] = lambda epochs, _: epochs,
) -> Fit:
    """Fit the network to codes ``train`` (N, n) by Adam; keep the epoch that is best on codes ``val`` (M, n).

    Epoch 0 is the network as it is given.
    It ends after ``epochs``, or after ``patience`` epochs without a better one. The result depends on the
    arguments alone.

    Raises:
        UserError: -log p of the validation codes is not finite after the first epoch.
    """
    device = network.bias.device
    train, val = train.to(device), val.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)

    @torch.no_grad()
    def validated() -> float:
        return -torch.cat([network.log_prob_of(part) for part in val.split(CHUNK)]).mean().item()

    least, best, weights = validated(), 0, copy.deepcopy(network.state_dict())
    epoch = 0
    for epoch in progress(range(1, epochs + 1), "code prior"):
        order = torch.randperm(len(train), generator=generator(SEED, "code prior/order", epoch))
        for index in order.to(device).split(batch):
            loss = -network.log_prob_of(train[index]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        nats = validated()
        if epoch == 1 and not math.isfinite(nats):
            raise UserError(f"the fit came to no finite value; try a smaller lr than {lr:g}.")
        if nats < least:
            least, best, weights = nats, epoch, copy.deepcopy(network.state_dict())
        elif epoch - best >= patience:
            break
    network.load_state_dict(weights)
    return Fit(network.requires_grad_(False), epoch, best)

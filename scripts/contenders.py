"""What the benchmark times: the same network, images, batches and objective, trained in different ways.

    python scripts/contenders.py pythae small --images 1237 --epochs 30 --fits 8

trains one of them in a process of its own, so many times. Each function trains ``options.epochs`` epochs and
returns images per second. ``bare``: a loop in plain
PyTorch. ``lightning``: a module as Lightning's own tutorials write it. ``pythae``: its BaseTrainer.
``vaelab``: the command's defaults, offline W&B included.
"""

import contextlib
import logging
import os
import sys
import tempfile
import time
import warnings
from argparse import ArgumentParser, Namespace, RawTextHelpFormatter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from vaelab.models import networks

LATENT = 10
NETWORKS: dict[str, dict[str, Any]] = {  # the network, its size, and the side of its images
    "small": {"network": "mlp", "hidden": [64], "side": 8},
    "mlp": {"network": "mlp", "hidden": [512], "side": 28},
    "conv": {"network": "conv", "hidden": [32, 64], "side": 28},
}


def images(options: Namespace, name: str) -> Tensor:
    """Random uint8 images, 1,000 more than are trained on."""
    side = NETWORKS[name]["side"]
    random = torch.Generator().manual_seed(0)
    return torch.randint(256, (options.images + 1000, 1, side, side), dtype=torch.uint8, generator=random)


def pair(name: str) -> Any:
    """Encoder and decoder with weights of their own."""
    size = NETWORKS[name]
    torch.manual_seed(0)
    make = getattr(networks, size["network"])
    return make((1, size["side"], size["side"]), LATENT, 2 * LATENT, 1, hidden=size["hidden"])


def loss_of(encoder: nn.Module, decoder: nn.Module, x: Tensor) -> Tensor:
    """-ELBO, the mean over images."""
    loc, log_var = encoder(x).chunk(2, dim=-1)
    z = loc + (0.5 * log_var).exp() * torch.randn_like(loc)
    distortion = binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
    kl = 0.5 * (loc.square() + log_var.exp() - log_var - 1).sum()
    return (distortion + kl) / len(x)


def bare(name: str, options: Namespace, folder: Path, fused: bool = True) -> float:
    """A loop in plain PyTorch, with the images on the device."""
    device = torch.device(options.device)
    data = images(options, name).to(device)
    encoder, decoder = (part.to(device) for part in pair(name))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=fused)
    start = now(device)
    for _ in range(options.epochs):
        for index in torch.randperm(options.images, device=device).split(options.batch):
            loss = loss_of(encoder, decoder, data[index].float().div_(255))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return options.epochs * options.images / (now(device) - start)


def flops_per_image(name: str, options: Namespace) -> float:
    """Floating-point operations of a training step for each image: matrix products and convolutions."""
    encoder, decoder = pair(name)
    x = images(options, name)[: options.batch].float().div(255)
    with FlopCounterMode(display=False) as counter:
        loss_of(encoder, decoder, x).backward()
    return counter.get_total_flops() / len(x)


def flops_of_a_product(device: torch.device, side: int = 2048) -> float:
    """Floating-point operations a second of a large matrix product, the best of five."""
    a = torch.ones(side, side, device=device)
    seconds = []
    for _ in range(6):  # the first warms up
        start = now(device)
        torch.mm(a, a)
        seconds.append(now(device) - start)
    return 2 * side**3 / min(seconds[1:])


def now(device: torch.device) -> float:
    """The time, once the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class Tutorial(pl.LightningModule):
    """A VAE as a LightningModule, as short as it can be."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.encoder, self.decoder = pair(name)

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        loss = loss_of(self.encoder, self.decoder, batch[0])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def lightning(name: str, options: Namespace, folder: Path) -> float:
    """The tutorial's module with a DataLoader over float images, without logger, checkpoint and bar."""
    data = TensorDataset(images(options, name)[: options.images].float().div(255))
    trainer = pl.Trainer(
        max_epochs=options.epochs, accelerator="gpu" if options.device == "cuda" else "cpu", devices=1,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(Tutorial(name), DataLoader(data, batch_size=options.batch, shuffle=True))
    return options.epochs * options.images / (time.perf_counter() - start)


def pythae(name: str, options: Namespace, folder: Path) -> float:
    """pythae's BaseTrainer with the same networks, whose decoder ends in a sigmoid there."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    inner, outer = pair(name)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = inner

        def forward(self, x: Tensor) -> Any:
            loc, log_var = self.layers(x).chunk(2, dim=-1)
            return ModelOutput(embedding=loc, log_covariance=log_var)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = outer

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z).sigmoid())

    x = images(options, name)[: options.images].float().div(255)
    config = VAEConfig(input_dim=tuple(x.shape[1:]), latent_dim=LATENT, reconstruction_loss="bce")
    settings = BaseTrainerConfig(
        output_dir=str(folder), per_device_train_batch_size=options.batch, num_epochs=options.epochs,
        learning_rate=1e-3, no_cuda=options.device != "cuda",
    )  # fmt: skip
    trainer = BaseTrainer(
        model=VAE(config, encoder=Encoder(), decoder=Decoder()),
        train_dataset=BaseDataset(x, torch.zeros(len(x))),
        training_config=settings,
    )
    start = time.perf_counter()
    trainer.train()
    return options.epochs * options.images / (time.perf_counter() - start)


def vaelab(name: str, options: Namespace, folder: Path, *settings: str) -> tuple[float, float]:
    """Images per second of vaelab's training steps, and of the whole fit with validation and checkpoints."""
    from vaelab.cli.checks import resolved
    from vaelab.cli.compose import composed
    from vaelab.runs.naming import register_resolvers
    from vaelab.runs.request import RunRequest
    from vaelab.training.fit import fit

    register_resolvers()
    data, size = images(options, name).numpy(), NETWORKS[name]
    np.savez(folder / "images.npz", x=data[:-500], x_test=data[-500:])
    chosen = [
        *("model=vae", f"network={size['network']}", f"network.hidden={size['hidden']}".replace(" ", "")),
        *("data=npz", f"data.path={folder / 'images.npz'}", "data.val_size=500"),
        *(f"data.batch_size={options.batch}", f"trainer.max_epochs={options.epochs}"),
        f"trainer.accelerator={'gpu' if options.device == 'cuda' else 'cpu'}",
        "trainer.enable_progress_bar=false",
        *(f"threads={torch.get_num_threads()}", f"paths.outputs={folder}", *settings),
    ]
    request = RunRequest(folder, variant="vae", dataset="random", name=name)
    timing = fit(resolved(composed("train", chosen)), request).timing
    steps, whole = timing["images_per_second"], timing["fit_seconds"]
    assert steps is not None
    assert whole is not None
    return steps, options.epochs * options.images / whole


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the output of the libraries that are timed."""
    for name in ("vaelab", "pytorch_lightning", "pythae"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


Contender = Callable[[str, Namespace, Path], float]
ALONE: dict[str, Contender] = {"bare": bare, "lightning": lightning, "pythae": pythae}


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("contender", choices=ALONE)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--fits", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    with quiet(), tempfile.TemporaryDirectory() as folder:
        for _ in range(options.fits):
            ALONE[options.contender](options.network, options, Path(folder))


if __name__ == "__main__":
    main()

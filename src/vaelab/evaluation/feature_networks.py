"""Feature networks: images -> vectors on which samples are compared. Results contain the network's name.

============  ======================================================================================
classifier    a small convolutional network trained here on the data's labels; the layer before the last
random        the same network with fixed random weights, for data without labels (Naeem et al., 2020,
              "Reliable Fidelity and Diversity Metrics for Generative Models", arXiv:2002.09797, find
              random networks suited to images unlike ImageNet's)
inception     InceptionV3's 2048 pooled features, from a file of its weights: the published FID
============  ======================================================================================
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.errors import UserError, did_you_mean
from vaelab.evaluation.trained_run import SEED, TrainedRun
from vaelab.functional.randomness import generator
from vaelab.runs.files import replacing

__all__ = ["FeatureNetwork", "classifier", "feature_network", "inception", "random_features"]

KINDS = ("auto", "classifier", "random", "inception")
DIMENSION = 64
CHUNK = 500  # images per pass

# the classifier's training: AdamW, one cycle of the learning rate, a fixed number of steps whatever the data
STEPS, BATCH, RATE, DECAY = 1200, 128, 3e-3, 1e-2
MOST_TRAINED, MOST_TESTED = 50_000, 10_000  # images
MOST_PIXELS = 2**27  # numbers in all images that are trained on: 512 MB


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network and its name in results.

    Attributes:
        network: float images (B, C, H, W) in the data's range -> features (B, d).
        accuracy: of the classifier on test images; NaN for other kinds.
    """

    name: str
    network: Callable[[Tensor], Tensor]
    accuracy: float = math.nan
    device: torch.device | str = "cpu"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Float images (N, C, H, W) -> features (N, d), float64 on the CPU."""
        parts = (self.network(part.to(self.device)) for part in images.split(CHUNK))
        return torch.cat([part.cpu().double() for part in parts])


def feature_network(
    run: TrainedRun, kind: str | FeatureNetwork = "auto", weights: str | Path | None = None
) -> FeatureNetwork:
    """The feature network for a run's data.

    Args:
        kind: "classifier", "random", "inception", or "auto": the classifier where the data have labels, else
            random features. A feature network is returned unchanged.
        weights: for "inception": the file of its weights.

    Raises:
        UserError: the kind is unknown, or labels, weights or a package are missing.
    """
    if isinstance(kind, FeatureNetwork):
        return kind
    if kind not in KINDS:
        raise UserError(f"There is no feature network {kind!r}. {did_you_mean(kind, KINDS)}")
    labelled = run.labels("train", 1) is not None and run.labels("test", 1) is not None
    if kind == "auto":
        kind = "classifier" if labelled else "random"
    if kind == "inception":
        return inception(weights, run.data.value_range, run.device)
    if kind == "random":
        return random_features(run.data.image_shape, run.device)
    if not labelled:
        raise UserError("features=classifier needs labels, and the data have none. Use features=random.")
    return classifier(run)


class ConvFeatures(nn.Module):
    """Images (B, C, H, W) -> features (B, 64).

    Convolutions of stride 2, at least two, each with a GELU, until the image is at most 4 pixels wide and
    high; then one linear layer of at most 1024 inputs. The features are its output before a nonlinearity,
    where no unit is dead.

    Attributes:
        center, scale: numbers that standardise the pixels.
        feature_center, feature_scale: (64,), which standardise the features, so that the spread of the
            training images is 64 on the scale of the Fréchet distance.
    """

    def __init__(self, image_shape: Sequence[int]) -> None:
        super().__init__()
        channels, *size = image_shape
        layers: list[nn.Module] = []
        for width in (32, *[64] * 30):
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.GELU()]
            channels, size = width, [-(-side // 2) for side in size]
            if max(size) <= 4 and len(layers) >= 4:
                break
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * math.prod(size), DIMENSION))
        for name, value in (("center", torch.zeros(())), ("scale", torch.ones(()))):
            self.register_buffer(name, value)
            self.register_buffer(f"feature_{name}", value.repeat(DIMENSION))

    center: Tensor
    scale: Tensor
    feature_center: Tensor
    feature_scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        features = self.layers((x - self.center) / self.scale)
        return (features - self.feature_center) / self.feature_scale


def random_features(image_shape: Sequence[int], device: torch.device | str = "cpu") -> FeatureNetwork:
    """:class:`ConvFeatures` with weights N(0, 2 / fan_in), without biases: the same for every such shape."""
    network = ConvFeatures(image_shape)
    random = generator(SEED, "quality/random features")
    for name, weights in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(weights)
        else:
            nn.init.kaiming_normal_(weights, nonlinearity="relu", generator=random)
    shape = "x".join(map(str, image_shape))
    return FeatureNetwork(f"random-{shape}", network.to(device).eval(), device=device)


def classifier(run: TrainedRun) -> FeatureNetwork:
    """A classifier trained on the training images and labels, stored in ``run.cache``.

    It is trained on the CPU, so that it depends on the data only. Each set of images, labels and settings
    has its file: runs with fewer training images get another network, and their results do not compare.
    """
    from filelock import FileLock

    limit = min(MOST_TRAINED, max(1, MOST_PIXELS // math.prod(run.data.image_shape)))
    x, y = run.images("train", limit), run.labels("train", limit)
    x_test, y_test = run.images("test", MOST_TESTED), run.labels("test", MOST_TESTED)
    assert y is not None
    assert y_test is not None
    settings = repr((str(ConvFeatures(x.shape[1:])), STEPS, BATCH, RATE, DECAY, SEED))
    digest = hashlib.blake2b(settings.encode(), digest_size=16)
    for part in (x, y, x_test, y_test):
        digest.update(repr(tuple(part.shape)).encode())
        digest.update(part.contiguous().numpy().data)
    name = f"classifier-{run.dataset}-{digest.hexdigest()[:6]}"
    file = Path(run.cache) / "features" / f"{name}-{digest.hexdigest()[6:]}.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):  # one of several parallel jobs trains, the others wait
        if not file.is_file():
            network, accuracy = train_classifier(x, y, x_test, y_test, run.progress)
            with replacing(file) as temporary:
                torch.save({"network": network.state_dict(), "accuracy": accuracy}, temporary)
    network = ConvFeatures(x.shape[1:])
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(saved["network"])
        accuracy = saved["accuracy"]
    except Exception as error:  # torch raises exceptions of any type for damaged files
        raise UserError(
            f"{file} is not a readable feature network: delete it ({type(error).__name__})."
        ) from error
    name = f"{name} (accuracy {accuracy:.3f})"
    return FeatureNetwork(name, network.to(run.device).eval(), accuracy, run.device)


def train_classifier(
    x: Tensor,
    y: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    progress: Callable[[range, str], Any] = lambda steps, _: steps,
) -> tuple[ConvFeatures, float]:
    """The features of a classifier trained on images x (N, C, H, W) and classes y (N,), and its accuracy.

    The result depends only on the arguments, not on global generators.
    """
    known, numbered = torch.cat([y, y_test]).unique(return_inverse=True)  # labels may be any numbers
    y, y_test = numbered.split([len(y), len(y_test)])
    classes = len(known)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = ConvFeatures(x.shape[1:])
        head = nn.Sequential(nn.GELU(), nn.Linear(DIMENSION, classes))
    network.center, network.scale = x.mean(), x.std().clamp(min=1e-6)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    order: list[Tensor] = []
    passes = 0
    for _ in progress(range(STEPS), "feature network"):
        if not order:
            shuffled = torch.randperm(len(x), generator=generator(SEED, "quality/classifier", passes))
            order, passes = list(shuffled.split(BATCH)), passes + 1
        batch = order.pop()
        loss = nn.functional.cross_entropy(head(network(x[batch])), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        answers = torch.cat([head(network(part)).argmax(1) for part in x_test.split(CHUNK)])
        features = torch.cat([network(part) for part in x.split(CHUNK)])
        network.feature_center, network.feature_scale = features.mean(0), features.std(0).clamp(min=1e-6)
    return network, float((answers == y_test).cpu().double().mean())


def inception(
    weights: str | Path | None, value_range: tuple[float, float], device: torch.device | str = "cpu"
) -> FeatureNetwork:
    """InceptionV3's 2048 pooled features through torch-fidelity, which ports TensorFlow's resizing.

    ``value_range`` is mapped to 0 to 255; grey images become three equal channels.

    Raises:
        UserError: torch-fidelity or the weights are missing, or the file does not hold them.
    """
    if weights is None:
        raise UserError(
            "features=inception needs weights=FILE, the file of InceptionV3's weights for torch-fidelity: "
            "weights-inception-2015-12-05-6726825d.pth."
        )
    file = Path(weights)
    if not file.is_file():
        raise UserError(f"There are no InceptionV3 weights {file}.")
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError(
            f"features=inception needs torch-fidelity ({error}): pip install torch-fidelity, "
            "or use features=auto."
        ) from error
    try:
        # torch-fidelity unpickles the file: load it as tensors first, so that other pickles stop here
        torch.load(file, map_location="cpu", weights_only=True)
        extractor = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(file)).to(device)
    except Exception as error:
        raise UserError(f"{file} does not hold InceptionV3's weights ({type(error).__name__}).") from error
    digest = hashlib.blake2b(file.read_bytes(), digest_size=3)
    low, high = value_range

    def pooled(x: Tensor) -> Tensor:
        grey = ((x - low) / (high - low) * 255).round().clamp(0, 255).to(torch.uint8)
        features: Tensor = extractor(grey.expand(-1, 3, -1, -1) if grey.shape[1] == 1 else grey)[0]
        return features

    return FeatureNetwork(f"inception-{digest.hexdigest()}", pooled, device=device)

"""Check the numbers that runs report against their exact values, through the command line.

    python scripts/checks.py [--seeds 20] [--folder outputs/checks] [--only estimates dominance]

Estimates: linear VAEs are trained on Gaussian images, each on images of its own and with its own seed; once
until they have converged, and once for three epochs, so that their codes are correlated and far from the
prior. For the trained weights the rate, the distortion, log p(x), the split of the rate and the gaps of the
decoder test are known (vaelab.functional.linear_vae), so that errors of the optimisation do not blur the
comparison. On validation and test images,

- every bracket must contain the true value;
- every estimate must be within three of its own standard errors. Of 20 runs of a right estimate one is beyond
  with probability 0.05, and two or more with 0.0013, which fails;
- the mean over runs of (estimate - truth) / standard error, in which a small bias shows, must be within
  4 / sqrt(runs), or within 4 where the error is that of noise which all runs share (the hole rates);
- converged models must be within SLACK nats of the optimum, probabilistic PCA, and none may be above it.

Dominance: beta-VAEs of a sweep over beta on digits. No run may be beaten at its own objective D + beta R, on
test images, by the run of another beta. Both are measured on the same images, so the standard error is that
of the mean difference per image; more than three of them fails.

The exit code is 1 if a check fails.
"""

import argparse
import math
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy.spatial import KDTree
from scipy.stats import binom, norm
from scipy.stats import t as student
from torch import nn

from vaelab import load
from vaelab.functional.closed_forms import linear_beta_vae
from vaelab.functional.linear_vae import LinearVAE
from vaelab.runs.record import read_record
from vaelab.runs.tables import text_table
from vaelab.training.assembly import build_data

SCRIPTS = Path(__file__).resolve().parent

# estimates
EIGENVALUES = [4.0, 2.0, 1.0, 0.01, 0.01, 0.01, 0.01, 0.01]
SIGMA = 0.1
LATENT_DIM = 3
TRAIN, VAL, TEST = 2000, 500, 1000
EPOCHS = {"converged": 150, "early": 3}
SLACK = 0.2  # nats of ELBO: 2,000 training images cost 0.03, and 1,500 steps do not converge completely
TAIL = 0.01  # of the hole rate
HOLE_DRAWS = 8  # at least

EXCEEDED = 3.0  # standard errors
SIGNIFICANT = 0.01  # a number of exceedances that is less probable fails
BIAS = 4.0  # standard errors of the mean over runs

# dominance
BETAS = [0.01, 0.1, 0.5, 1, 4, 20]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A reported number, its standard error and the truth.

    Attributes:
        draws: the error is that of so many draws of noise, which is the same in all runs; None if it is one
            over images, which differ.
    """

    quantity: str
    truth: float
    reported: float
    error: float
    draws: int | None = None

    @property
    def z(self) -> float:
        """Standard errors above the truth; of few draws, the normal value that is as improbable."""
        z = (self.reported - self.truth) / self.error
        if self.draws is None:
            return z
        return float(math.copysign(norm.isf(student.sf(abs(z), self.draws - 1)), z))


@dataclass(frozen=True)
class Bracket:
    """Both ends of a reported bracket, and the truth with its numerical error."""

    quantity: str
    truth: float
    low: float
    high: float
    error: float

    @property
    def holds(self) -> bool:
        return self.low - 3 * self.error <= self.truth <= self.high + 3 * self.error


# what is true


def rotation(seed: int) -> Array:
    """The principal axes of the images of this seed, (P, P)."""
    pixels = len(EIGENVALUES)
    basis, _ = np.linalg.qr(np.random.default_rng([seed, 0]).standard_normal((pixels, pixels)))
    return np.asarray(basis)


def write_images(file: Path, seed: int) -> None:
    """Independent images of N(0, C), where C has the EIGENVALUES."""
    random, scales = np.random.default_rng([seed, 1]), np.sqrt(EIGENVALUES)
    x, x_test = (
        (random.standard_normal((number, len(scales))) * scales @ rotation(seed).T).astype(np.float32)
        for number in (TRAIN + VAL, TEST)
    )
    np.savez(file, x=x, x_test=x_test)


def exact_model(folder: Path, seed: int) -> LinearVAE:
    """The trained model of the run, as a linear VAE whose numbers are known."""
    model = load(folder).model
    (encoder,) = (layer for layer in model.encoder.modules() if isinstance(layer, nn.Linear))
    (decoder,) = (layer for layer in model.decoder.modules() if isinstance(layer, nn.Linear))
    (weight, bias), output = (
        (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy())
        for layer in (encoder, decoder)
    )
    basis = rotation(seed)
    return LinearVAE(
        (weight[:LATENT_DIM], bias[:LATENT_DIM]),
        (weight[LATENT_DIM:], bias[LATENT_DIM:]),
        output,
        SIGMA,
        basis * EIGENVALUES @ basis.T,
    )


def expected_hole_rates(
    model: LinearVAE, images: Array, repeats: int = 200
) -> dict[str, tuple[float, float]]:
    """The expected hole rates of these images over draws, each with its standard error, by repeated draws."""
    random = np.random.default_rng(0)
    means, scales = model.posteriors(images)
    rank = (1 - TAIL) * (len(images) - 1)
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        z = means + scales * random.standard_normal(means.shape)
        tree = KDTree(z)
        own = np.sort(tree.query(z, k=2)[0][:, 1])
        draws = {
            "hole_rate": random.standard_normal(z.shape),
            "hole_rate_matched": random.multivariate_normal(z.mean(0), np.cov(z.T), len(z)),
        }
        for name, drawn in draws.items():
            nearest = tree.query(drawn)[0]
            beyond = [float((nearest > own[side]).mean()) for side in (math.floor(rank), math.ceil(rank))]
            rates[name].append(beyond[0] + (rank - math.floor(rank)) * (beyond[1] - beyond[0]))
    error = math.sqrt(repeats)
    return {name: (float(np.mean(each)), float(np.std(each)) / error) for name, each in rates.items()}


# what is reported


def compared(folder: Path, record: dict[str, Any]) -> Iterator[Estimate | Bracket]:
    """Each reported number of a run beside its true value; a number that is not reported is NaN."""
    model = exact_model(folder, record["seed"])
    split = model.split()

    def reported(name: str) -> float:
        value = record["metrics"].get(name)
        return math.nan if value is None else value

    exact = {
        "rate": model.rate,
        "distortion": model.distortion,
        "elbo": model.elbo,
        "objective": -model.elbo,
        "shuffle_gap": model.shuffle_gap,
        "prior_gap": model.prior_gap,
    }
    data = build_data(OmegaConf.create(record["config"]))
    for part, images in (("val", data.val), ("test", data.test)):
        for name, truth in exact.items():
            key = f"{part}/{name}"
            yield Estimate(key, truth, reported(key), reported(f"{key}_se"))
        assert images is not None
        x = images.x[torch.arange(len(images))].flatten(1).double().numpy()
        for name, (truth, error) in expected_hole_rates(model, x).items():
            key = f"{part}/{name}"
            # a share of so few: its standard error is that of a count, whatever the draws show
            number = len(x) * HOLE_DRAWS
            count = math.sqrt(max(truth, 1 / number) / number)
            errors = max(reported(f"{key}_se"), count), error
            yield Estimate(key, truth, reported(key), math.hypot(*errors), HOLE_DRAWS)
        for name, truth in split._asdict().items():
            if name != "error":
                key = f"{part}/{name}"
                yield Bracket(key, truth, reported(f"{key}_low"), reported(f"{key}_high"), split.error)
        key = f"{part}/constant_distortion"
        if key in record["metrics"]:
            error = np.square(x).sum(1).std() / (2 * SIGMA**2 * math.sqrt(len(x)))
            yield Estimate(key, model.constant_distortion, reported(key), error)
        key = f"{part}/hole_rate_null"
        null = (len(x) - (1 - TAIL) * (len(x) - 1)) / (len(x) + 1)
        yield Bracket(key, null, reported(key), reported(key), 1e-6)
    for entry in (record.get("evaluation") or {}).values():
        nll = entry["metrics"]["nll_importance"], entry["metrics"]["nll_importance_se"]
        yield Estimate("nll_importance", model.negative_log_likelihood, *nll)


def command(*arguments: str) -> None:
    """Run a script of this folder."""
    script, *settings = arguments
    subprocess.run([sys.executable, str(SCRIPTS / script), *settings], check=True)


def train_linear(folder: Path, seeds: Sequence[int]) -> dict[str, list[Path]]:
    """The folders of the trained runs, by EPOCHS."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        write_images(folder / f"gaussian-{seed}.npz", seed)
    runs = {}
    for name, epochs in EPOCHS.items():
        command(
            "train.py", "-m", "model=vae", "network=linear", "likelihood=gaussian", "data=npz",
            f"data.path={folder.resolve()}/gaussian-${{seed}}.npz", f"data.val_size={VAL}",
            "data.batch_size=200", f"likelihood.sigma={SIGMA}", f"model.latent_dim={LATENT_DIM}",
            "model.weights=last", f"trainer.max_epochs={epochs}", f"trainer.check_val_every_n_epoch={epochs}",
            "optimizer.lr=0.1", "+schedule@model.lr_factor=cosine", "model.lr_factor.start=1",
            "model.lr_factor.stop=0", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
            "callbacks=none", "logger=none", "threads=1", f"seed={','.join(map(str, seeds))}",
            f"sweep.name={name}", f"paths.outputs={folder}",
        )  # fmt: skip
        runs[name] = sorted(file.parent for file in (folder / "sweeps" / name).glob("*/results.json"))
    command(
        "evaluate.py", str(folder / "sweeps" / "converged"), "udr=null", "device=cpu", "threads=1",
        "eval.latent_space=null", "eval.sample_quality=null", "eval.probes=null",
        "eval.disentanglement_scores=null",
    )  # fmt: skip
    return runs


# judgements


def check_estimates(folder: Path, seeds: Sequence[int]) -> bool:
    """Train, compare and print; whether every check holds."""
    fine = True
    for name, folders in train_linear(folder, seeds).items():
        found: dict[str, list[Any]] = defaultdict(list)
        gaps = []
        for run in folders:
            record = read_record(run)
            for number in compared(run, record):
                found[number.quantity].append(number)
            optimum = linear_beta_vae(EIGENVALUES, SIGMA, 1.0, LATENT_DIM).elbo
            gaps.append(optimum - exact_model(run, record["seed"]).elbo)
        print(f"\n{len(folders)} linear VAEs on Gaussian images, {name}: {EPOCHS[name]} epochs\n")
        rows = [judged(quantity, numbers) for quantity, numbers in sorted(found.items())]
        header = ["quantity", "truth", "reported", "largest |z|", "mean z", "contain the truth", "check"]
        print(text_table(header, rows))
        reached = name != "converged" or max(gaps) < SLACK
        print(f"The ELBO of the trained weights is {min(gaps):.3f} to {max(gaps):.3f} below the optimum.")
        if not reached or min(gaps) < -1e-6:
            print(f"FAILED: it must be 0 to {SLACK} below the optimum, and never above it.")
        fine &= reached and min(gaps) > -1e-6 and all(row[-1] == "ok" for row in rows)
    return fine


def judged(quantity: str, numbers: Sequence[Any]) -> list[object]:
    """A row of the table; its last cell is ok or FAILED."""
    truth = float(np.mean([number.truth for number in numbers]))
    if isinstance(numbers[0], Bracket):
        ends = [float(np.mean([getattr(number, end) for number in numbers])) for end in ("low", "high")]
        contain = sum(number.holds for number in numbers)
        verdict = "ok" if contain == len(numbers) else "FAILED"
        reported = f"{ends[0]:.3f} to {ends[1]:.3f}"
        return [quantity, f"{truth:.3f}", reported, "", "", f"{contain} of {len(numbers)}", verdict]
    z = np.array([number.z for number in numbers])
    exceedances = int((np.abs(z) > EXCEEDED).sum())
    chance = binom.sf(exceedances - 1, len(z), 0.0027)
    independent = 1 if numbers[0].draws else len(z)
    biased = abs(z.mean()) > BIAS / math.sqrt(independent)
    wrong = not np.isfinite(z).all() or biased or chance < SIGNIFICANT
    largest = f"{np.abs(z).max():.2f}" + (f" ({exceedances} beyond 3)" if exceedances else "")
    reported = f"{np.mean([number.reported for number in numbers]):.3f}"
    reported += f" ± {np.mean([number.error for number in numbers]):.3f}"
    return [quantity, f"{truth:.3f}", reported, largest, f"{z.mean():.2f}", "", "FAILED" if wrong else "ok"]


def check_dominance(folder: Path, epochs: int = 40) -> bool:
    """Train a sweep over beta on digits and print which runs are beaten at their own objective."""
    command(
        "train.py", "-m", "model=beta_vae", f"model.beta={','.join(map(str, BETAS))}", "data=digits",
        f"trainer.max_epochs={epochs}", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false",
        "callbacks=no_pictures", "logger=none", "threads=1", "seed=0", "sweep.name=dominance",
        f"paths.outputs={folder}",
    )  # fmt: skip
    files = sorted((folder / "sweeps" / "dominance").glob("*/results.json"))
    images = {read_record(file.parent)["beta"]: per_image(file.parent) for file in files}
    rows, fine = [], True
    for beta, (rate, distortion) in sorted(images.items()):
        own = distortion + beta * rate
        for other, (its_rate, its_distortion) in sorted(images.items()):
            excess = own - (its_distortion + beta * its_rate)
            error = excess.std(ddof=1) / math.sqrt(len(excess))
            if other != beta and excess.mean() > error:
                beyond = excess.mean() / error
                fine &= bool(beyond <= EXCEEDED)
                rows.append(
                    [f"{beta:g}", f"{other:g}", f"{excess.mean():.3f} ± {error:.3f}", f"{beyond:.1f}"]
                )
    print(f"\nOwn objective D + beta R on test images, digits, {epochs} epochs, beta = {list(images)}\n")
    if rows:
        print(text_table(["beta", "beaten by beta", "by (nats)", "standard errors"], rows))
    print(f"{len(rows)} of {len(images) * (len(images) - 1)} pairs are beaten by more than a standard error.")
    return fine


def per_image(folder: Path) -> tuple[Array, Array]:
    """Rate and distortion of each test image."""
    with np.load(folder / "per_image.npz", allow_pickle=False) as arrays:
        order = np.argsort(arrays["position"])
        return arrays["rate"][order].astype(float), arrays["distortion"][order].astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="linear VAEs of each kind")
    parser.add_argument("--folder", type=Path, default=Path("outputs/checks"))
    parser.add_argument("--only", nargs="+", choices=["estimates", "dominance"])
    chosen = parser.parse_args()
    folder = chosen.folder / time.strftime("%Y%m%d-%H%M%S")  # a sweep of the same name would go on
    checks = {
        "estimates": lambda: check_estimates(folder, range(chosen.seeds)),
        "dominance": lambda: check_dominance(folder),
    }
    failed = [name for name, check in checks.items() if name in (chosen.only or checks) and not check()]
    print(f"\nFAILED: {', '.join(failed)}." if failed else "\nAll checks hold.")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

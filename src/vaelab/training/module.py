"""LitAutoencoder, the LightningModule that trains and measures an Autoencoder."""

import logging
import math
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import MetricCollection

from vaelab.errors import UserError
from vaelab.functional.randomness import generator
from vaelab.metrics.rate_distortion import ImageRates
from vaelab.models.autoencoder import Autoencoder
from vaelab.models.objectives import TermShape
from vaelab.models.schedules import ends_too_late, last_steps, readings, set_total_steps
from vaelab.runs.record import named_scalars
from vaelab.training.callbacks.steps import total_steps
from vaelab.training.checkpoints import random_states, relocated, set_random_states
from vaelab.training.compilation import CompiledPass, training_pass
from vaelab.training.curve_metrics import CurveMetrics, mean_objective
from vaelab.training.followers import Followers
from vaelab.training.further_passes import FurtherPasses
from vaelab.training.held_out import fields, posteriors, values_and_rates
from vaelab.training.held_out_noise import HeldOutNoise
from vaelab.training.learning_rates import LearningRates, parameter_groups
from vaelab.training.not_finite import remedy
from vaelab.training.running_means import RunningMeans
from vaelab.types import AfterStep, Batch, Noise, Output

__all__ = ["LitAutoencoder", "OptimizerFactory"]

log = logging.getLogger(__name__)


ON_BARS = ("train/loss", "val/elbo")
Results = Sequence[dict[str, Tensor]]  # of a curve: a dictionary for each beta
OptimizerFactory = Callable[[Iterable[Any]], torch.optim.Optimizer]  # of parameters or of groups of them


class LitAutoencoder(pl.LightningModule):
    """Trains ``model`` with its objective and measures it with ``metrics`` on held-out images.

    - Training noise is a function of (seed, epoch, batch); held-out noise is a :class:`HeldOutNoise`.
    - ``train/loss`` and ``train/<term>`` are means over the steps since they were last logged
      (:class:`RunningMeans`): every ``trainer.log_every_n_steps`` steps and at the end of an epoch.
    - Parts may have updates without a gradient (:class:`Followers`).
    - A checkpoint also contains what a resumed run needs to end exactly as an uninterrupted one: the seed,
      the running sums of the means, the states of the global generators, the run's folder.

    Args:
        optimizer: makes the optimizer from parameters or groups of them.
        seed: of the training noise; None to draw one.
        checkpoint_extra: plain types to store in every checkpoint under the key ``vaelab``.
        lr_factor: a number or a schedule; it multiplies every learning rate (``train/lr_factor``).
        compile_mode: of ``torch.compile`` for the training step; None trains without.

    Attributes:
        beta: of a multi-rate model, the one at which held-out images are measured; None for its default.
        results: the latest metrics of each held-out split; NaN where a quantity is undefined.
        at_rate_zero: what a decoder that ignores z reaches on each split; added to the results.
        image_rates: rate and distortion of each image of the split, of which ``results`` has the means.
    """

    def __init__(
        self,
        model: Autoencoder,
        optimizer: OptimizerFactory,
        metrics: MetricCollection,
        seed: int | None = None,
        checkpoint_extra: dict[str, Any] | None = None,
        lr_factor: float | torch.nn.Module = 1.0,
        compile_mode: str | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer_factory = optimizer
        self.val_metrics = metrics.clone()
        self.test_metrics = metrics.clone()
        # during the fit a multi-rate model is validated at each of its betas
        self.curve_metrics = CurveMetrics(metrics, model.betas)
        self.beta: float | None = None
        self._measured = [model]  # and those of the curve; in a list they are not parts of this module
        self.seed = secrets.randbits(32) if seed is None else seed
        self.checkpoint_extra = checkpoint_extra or {}
        self.results: dict[str, dict[str, Tensor]] = {}
        self.at_rate_zero: dict[str, dict[str, Tensor]] = {}
        self.image_rates: dict[str, ImageRates | None] = {}
        self.learning_rates = LearningRates(lr_factor)
        self._training_pass = (
            CompiledPass(model, compile_mode) if compile_mode else partial(training_pass, model)
        )
        self.held_out_noise = HeldOutNoise(model.samples, model.latent_dim)
        self.means = RunningMeans()
        self.followers = Followers(model)
        self._step_before = 0
        self._logged_before: dict[str, float] = {}  # train/... in the checkpoint from which the run resumed
        self._random_states: dict[str, Any] | None = None  # to be restored when training starts

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.learning_rates.attach(self.optimizer_factory(parameter_groups(self)))

    def set_total_steps(self, total: float) -> None:
        """Set the number of optimizer steps of the whole training in every schedule."""
        try:
            set_total_steps(self.model, total)
            self.learning_rates.set_total_steps(total)
        except ValueError as error:
            raise UserError(str(error)) from error

    def last_steps(self) -> dict[str, float]:
        """The step from which each schedule is constant (:func:`vaelab.models.schedules.last_steps`)."""
        return last_steps(self.model) | self.learning_rates.last_steps()

    # training

    def on_fit_start(self) -> None:
        data = getattr(self.trainer, "datamodule", None)
        self.automatic_optimization = getattr(data, "batches_at_once", 1) == 1

    def on_train_start(self) -> None:
        total = self._total_steps = total_steps(self.trainer)
        self.set_total_steps(total)
        for name, step in ends_too_late(self.last_steps(), total).items() if self.global_rank == 0 else ():
            log.warning(
                "The schedule %s ends at step %d, but the training has %d steps: it does not get there.",
                name, step, total,
            )  # fmt: skip
        if self._random_states is not None:  # not earlier: building the callbacks may draw random numbers
            set_random_states(self._random_states)
            self._random_states = None

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """The loss of a step; or a step for each of several batches (:mod:`vaelab.training.at_once`)."""
        if self.automatic_optimization:
            return self._loss(batch, batch_idx)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        optimizer: Any = self.optimizers()
        images = 0
        for number, part in enumerate(batch.split(data.batch_size), start=batch_idx * data.batches_at_once):
            if self.global_step >= self._total_steps:  # trainer.max_steps may end within these batches
                break
            with self._step(optimizer.optimizer):
                optimizer.step(closure=partial(self._gradient, optimizer, part, number))
            self.on_train_batch_end()
            images += len(part.x)
        return {"images": images}

    def _gradient(self, optimizer: Any, batch: Batch, number: int) -> Tensor:
        """The loss of a batch, whose gradient the parameters get."""
        optimizer.zero_grad()
        loss = self._loss(batch, number)
        loss.backward()  # manual_backward is for precisions that scale the loss: they take a step a turn
        return loss

    def _loss(self, batch: Batch, number: int) -> Tensor:
        """The loss of the epoch's batch ``number``."""
        random = generator(
            self.seed, "train", self.current_epoch, number, self.global_rank, device=self.device
        )
        noise = self.model.draw_noise(len(batch.x), random, image_shape=batch.x.shape[1:])
        self._step_before = self.global_step
        loss, terms, q = self._passed(self._training_pass, batch, noise)
        self.means.add(loss, terms)
        self.followers.add(q)
        return loss

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, closure: Any = None) -> None:
        with self._step(optimizer):
            super().optimizer_step(epoch, batch_idx, optimizer, closure)

    @contextmanager
    def _step(self, optimizer: Any) -> Iterator[None]:
        """What belongs to an optimizer step: its learning rates, and then the updates without a gradient."""
        self.learning_rates.set(optimizer, self.global_step)
        yield
        if self.followers.parts:
            step, first = self._step_before, self.global_rank == 0
            self.followers.update(
                AfterStep(self._sum_over_devices, lambda stream: generator(self.seed, stream, step), first)
            )

    def on_train_batch_end(self, *args: Any) -> None:
        if self._log_is_due():
            self._log_training()

    def on_train_epoch_end(self) -> None:
        self._log_training()

    def training_metrics(self) -> dict[str, float]:
        """The latest ``train/...``, including those that were logged before the run resumed."""
        logged = self.trainer.callback_metrics
        return self._logged_before | {k: v.item() for k, v in logged.items() if k.startswith("train/")}

    def _log_is_due(self) -> bool:
        taken = self.global_step  # as many as before the batch, while gradients accumulate
        return taken != self._step_before and taken % self.trainer.log_every_n_steps == 0  # type: ignore[attr-defined]

    def _log_training(self) -> None:
        means = self.means.take()
        if not means:
            return
        if not math.isfinite(means["loss"]):
            raise UserError(
                f"The training loss became {means['loss']} in epoch {self.current_epoch}, by step "
                f"{self.global_step}. {self._remedy()}"
            )
        step = self._step_before  # at which the last step was computed
        values = means | readings(self.model, step) | self.learning_rates.readings(step)
        numbers = torch.tensor([float(value) for value in values.values()], dtype=torch.float64)
        mean = self._sum_of_numbers(numbers) / self.trainer.world_size
        self._publish({f"train/{n}": v for n, v in zip(values, mean.tolist(), strict=True)}, to_loggers=True)

    def _remedy(self) -> str:
        """What may help where a number is not finite."""
        return remedy(getattr(self.trainer, "datamodule", None))

    def _sum_of_numbers(self, values: Tensor) -> Tensor:
        """float64 numbers on the CPU -> their sums over devices. (A single device may have no float64.)"""
        if self.trainer.world_size == 1:
            return values
        return self._sum_over_devices(values.to(self.device)).cpu()

    def _sum_over_devices(self, value: Tensor) -> Tensor:
        total: Tensor = self.trainer.strategy.reduce(value, reduce_op="sum")
        return total

    # held-out images

    @property
    def measured_model(self) -> Autoencoder:
        """The model that is measured and drawn: ``model`` itself, or a multi-rate model at one beta."""
        return self._measured[0]

    def on_validation_start(self) -> None:
        curve = self.model.betas if self._is_fitting() else []
        self._measured = [self.model.at(self.beta), *map(self.model.at, curve)]

    def on_test_start(self) -> None:
        self._measured = [self.model.at(self.beta)]
        self._further_passes = FurtherPasses(
            self._test_pass, self.test_metrics.values(), self.model.samples, self._sum_of_numbers
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        every = [self.val_metrics, *self.curve_metrics.each()]
        for model, metrics in zip(self._measured, every, strict=False):  # those of a curve in the fit alone
            self._measure(model, batch, "val", metrics, quick=self._is_fitting())

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(self.measured_model, batch, "test", self.test_metrics, quick=False)
        self._further_passes.add(batch, batch_idx + 1 == self.trainer.num_test_batches[0])

    def on_validation_epoch_end(self) -> None:
        fitting = self._is_fitting()
        curve = [self._computed("val", part) for part in self.curve_metrics.each()] if fitting else []
        self._report("val", self.val_metrics, to_loggers=fitting, curve=curve)

    def on_test_epoch_end(self) -> None:
        self._report("test", self.test_metrics, to_loggers=True)

    def _is_fitting(self) -> bool:
        return self.trainer.state.fn == TrainerFn.FITTING

    def forward(self, batch: Batch, noise: Noise, model: Autoencoder | None = None) -> Output:
        """The model's output, computed in its precision (trainer.precision=64-true)."""
        output: Output = self._passed(self.model if model is None else model, batch, noise)
        return output

    def _passed(self, through: Callable[..., Any], batch: Batch, noise: Noise) -> Any:
        noise = Noise._make(part.to(batch.x.device).to(self.dtype) for part in noise)
        try:
            return through(self._images(batch), noise, self.global_step, batch.y)
        except TermShape as error:
            raise UserError(f"model.objective.{error}.") from error

    def _measure(
        self, model: Autoencoder, batch: Batch, split: str, metrics: MetricCollection, quick: bool
    ) -> Output:
        output: Output = self(batch, self.held_out_noise(split, batch.position), model)
        training = self._training_posteriors if self._measures_test(split) else None
        given = fields(model, batch, self._images(batch), output)
        metrics.update(**given, split=split, training_posteriors=training, quick=quick)
        return output

    @torch.no_grad()
    def logged_names(self, batch: Batch) -> set[str]:
        """The names of the numbers that this run logs, found by measuring ``batch`` before the training."""
        self.eval()
        metrics = self.val_metrics.clone()
        positions = torch.arange(len(batch.x))
        self._measured = [self.model.at()]
        placed = batch._replace(position=positions)
        output = self._measure(self.measured_model, placed, "val", metrics, quick=True)
        self.train()
        train = {*output.terms, "loss", *readings(self.model, 0), *self.learning_rates.readings(0)}
        # of undefined numbers, which are not logged, a metric may have the names all the same
        held_out = {
            name: [0.0] * value.numel() if value.dim() else 0.0
            for name, value in values_and_rates(metrics)[0].items()
        }
        return {f"train/{name}" for name in train} | {f"val/{name}" for name in named_scalars(held_out)}

    def _test_pass(self, batch: Batch, number: int) -> dict[str, Any]:
        """What metrics get of pass ``number`` over a test batch; 0 is the first."""
        assert batch.position is not None
        model = self.measured_model
        stats = self(batch, self.held_out_noise.of_pass(number, "test", batch.position), model).stats
        return {**stats.for_metrics(), "objective": model.objective.per_image(stats)}

    def _measures_test(self, split: str) -> bool:
        """Whether posteriors of training images are to be used: at the test, where the trainer has them."""
        return split == "test" and hasattr(getattr(self.trainer, "datamodule", None), "training_sample")

    def _training_posteriors(self, count: int) -> Any:
        """q(z|x) of a fixed random subset of ``count`` training images, on the model's device."""
        images = self.trainer.datamodule.training_sample(count)  # type: ignore[attr-defined]
        return posteriors(self.measured_model, images, self.device)

    def _images(self, batch: Batch) -> Tensor:
        """Images in the higher of their precision and the model's."""
        dtype: Any = self.dtype
        return batch.x.to(torch.promote_types(batch.x.dtype, dtype))

    def _computed(self, split: str, metrics: MetricCollection) -> dict[str, Tensor]:
        """The values of the metrics, which are reset."""
        results, self.image_rates[split] = values_and_rates(metrics)
        metrics.reset()
        return results

    def _report(self, split: str, metrics: MetricCollection, to_loggers: bool, curve: Results = ()) -> None:
        """Keep and log the metrics. Those of ``curve`` are logged too; their mean is the objective."""
        results = self._computed(split, metrics) | mean_objective(curve)
        for name, value in results.items():
            # NaN may mean undefined, but the distortion is always defined, and no metric is infinite
            if value.isinf().any() or (name == "distortion" and value.isnan()):
                raise UserError(
                    f"{split}/{name} became {value.tolist()} in epoch {self.current_epoch}. {self._remedy()}"
                )
        self.results[split] = results | self.at_rate_zero.get(split, {})
        logged = results | (self.curve_metrics.named(curve) if curve else {})
        # undefined values (the rate of an autoencoder) are not logged, so that panels stay blank
        scalars = named_scalars({name: value.tolist() for name, value in logged.items()})
        self._publish({f"{split}/{name}": value for name, value in scalars.items()}, to_loggers)

    def _publish(self, values: dict[str, float], to_loggers: bool) -> None:
        """Give callbacks, and loggers, numbers that are reduced over devices already.

        Lightning's own progress bars get two of them. Not by ``self.log``, which takes a millisecond for each
        number: for all numbers of a validation several times as long as the steps of a small epoch.
        """
        if self.trainer.sanity_checking:
            return
        self.trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
        self.trainer.progress_bar_metrics.update({name: values[name] for name in ON_BARS if name in values})
        for logger in self.loggers if to_loggers else ():
            logger.log_metrics({**values, "epoch": self.current_epoch}, step=self.global_step)

    # checkpoints contain only plain types and tensors, so that torch.load(weights_only=True) reads them

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # if the means are due, they are logged after this checkpoint, so a resumed run starts new ones
        means = RunningMeans() if self._log_is_due() else self.means
        checkpoint["vaelab"] = {
            **self.checkpoint_extra,
            "seed": self.seed,
            "means": means.state_dict(),
            "logged": self.training_metrics(),
            "random": random_states(),
            "folder": self._folder(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        extra = checkpoint["vaelab"]
        self.seed, self._logged_before, self._random_states = extra["seed"], extra["logged"], extra["random"]
        self.means.load_state_dict(extra["means"])
        # Lightning restores the callbacks' states from this dictionary afterwards
        states = checkpoint.get("callbacks")
        if states and "folder" in extra:
            checkpoint["callbacks"] = relocated(states, extra["folder"], self._folder())

    def _folder(self) -> str:
        """The run's absolute folder, below which the callbacks' states name files."""
        return os.path.abspath(self.trainer.default_root_dir)

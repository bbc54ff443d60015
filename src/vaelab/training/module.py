"""LitAutoencoder: how an Autoencoder is trained and measured."""

import math
import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import MetricCollection

from vaelab.errors import UserError
from vaelab.functional.randomness import generator
from vaelab.models.autoencoder import Autoencoder, detached
from vaelab.models.schedules import as_schedule, readings, set_total_steps
from vaelab.training.callbacks.steps import StopAfterSteps
from vaelab.training.checkpoints import random_states, set_random_states
from vaelab.types import Batch, Noise, Output

HELD_OUT_SEED = 0  # not the run's seed: every run is measured with the same noise
NOISE_ROWS = 4096  # images per block of the table of held-out noise

OptimizerFactory = Callable[[Iterable[Any]], torch.optim.Optimizer]  # of parameters or of groups of them


class Window:
    """Means over the training steps since the last log, summed on the device: one transfer when closed."""

    def __init__(self) -> None:
        self.steps = 0
        self._sums: Tensor | None = None
        self._names: list[str] = []

    def add(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        values = torch.stack([value.detach() for value in (loss, *terms.values())])
        self._sums = values if self._sums is None else self._sums + values
        self._names = ["loss", *terms]
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "sums": self._sums, "names": self._names}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self.steps, self._names = state["steps"], list(state["names"])
        self._sums = None if state["sums"] is None else state["sums"].to(device)

    def close(self) -> dict[str, float]:
        """The means by name; the window is empty after that."""
        assert self._sums is not None
        means = (self._sums / self.steps).tolist()
        self._sums, self.steps = None, 0
        return dict(zip(self._names, means, strict=True))


class LitAutoencoder(pl.LightningModule):
    """Trains ``model`` with its own objective and measures it with ``metrics`` on held-out images.

    - Training noise is a function of (seed, epoch, batch); ``seed=None`` draws a root of its own.
    - Held-out noise is a function of the split and the image alone: the same in every epoch, every run and
      at every batch size, so that runs differ by their models and by nothing else.
    - ``train/loss`` and ``train/<term>`` are means over the steps since they were last logged, every
      ``trainer.log_every_n_steps`` steps and at the end of an epoch: sums stay on the device until then.
    - A part may follow the training beside its gradient, as moving averages do: after each optimizer step
      its ``after_step(batches, total)`` is called with q(z|x) of the step's batches (more than one where
      gradients accumulate) and a function that sums over devices. What it changes are buffers.
    - ``lr_factor``, a number or a schedule, multiplies every learning rate (``train/lr_factor``).
    - ``results[split]`` holds what the metrics said last, NaN where a quantity is undefined.
    - A checkpoint holds, beside what Lightning keeps, what makes a resumed run end as an uninterrupted one:
      the seed, the means that are being summed, torch's random states. ``logged`` is what the run had logged
      of training and validation when the checkpoint was written that it goes on from.
    """

    own: torch.nn.ModuleDict

    def __init__(
        self,
        model: Autoencoder,
        optimizer: OptimizerFactory,
        metrics: MetricCollection,
        seed: int | None = None,
        checkpoint_extra: dict[str, Any] | None = None,
        lr_factor: float | torch.nn.Module = 1.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer_factory = optimizer
        self.val_metrics = metrics.clone()
        self.test_metrics = metrics.clone()
        self.seed = secrets.randbits(32) if seed is None else seed
        self.checkpoint_extra = checkpoint_extra or {}
        self.results: dict[str, dict[str, Tensor]] = {}
        self.logged: dict[str, float] = {}
        # not a submodule: its value is wanted on the CPU, whatever device the model is on
        self.__dict__["own"] = torch.nn.ModuleDict({"lr_factor": as_schedule(lr_factor)})
        self._held_out_noise: dict[str, Tensor] = {}
        self._window = Window()
        self._followers = [module for module in model.modules() if hasattr(module, "after_step")]
        self._seen: list[Any] = []  # q(z|x) of each batch since the last optimizer step
        self._step_before = 0
        self._restore: dict[str, Any] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning sets this one forty times a step; Module's own way, which looks for parameters and
        # submodules first, would cost a small network several per cent of its speed
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = self.optimizer_factory(parameter_groups(self))
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return optimizer

    def set_total_steps(self, total: float) -> None:
        """Tell every schedule how many optimizer steps the whole training has."""
        set_total_steps(self.model, total)
        set_total_steps(self.own, total)

    def set_learning_rates(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Each group's own, times what ``lr_factor`` is at the step."""
        factor = float(self.own["lr_factor"](step))
        for group in optimizer.param_groups:
            group["lr"] = factor * group["initial_lr"]

    # training

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, closure: Any = None) -> None:
        self.set_learning_rates(optimizer, self.global_step)
        super().optimizer_step(epoch, batch_idx, optimizer, closure)
        if self._followers:
            with torch.no_grad():
                for part in self._followers:
                    part.after_step(self._seen, self._total)  # type: ignore[operator]
            self._seen = []

    def _total(self, value: Tensor) -> Tensor:
        """The sum of each device's ``value``."""
        total: Tensor = self.trainer.strategy.reduce(value, reduce_op="sum")
        return total

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        random = generator(
            self.seed, "train", self.current_epoch, batch_idx, self.global_rank, device=self.device
        )
        noise = self.model.draw_noise(len(batch.x), random, image_shape=batch.x.shape[1:])
        output = self._forward(batch, noise)
        self._window.add(output.loss, output.terms)
        if self._followers:
            self._seen.append(detached(output.stats.q))
        self._step_before = self.global_step
        return output.loss

    def on_train_batch_end(self, *args: Any) -> None:
        stepped = self.global_step != self._step_before  # not so while gradients accumulate
        if stepped and self.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log_training()

    def on_train_epoch_end(self) -> None:
        self._log_training()

    def _log_training(self) -> None:
        if not self._window.steps:
            return
        means = self._window.close()
        if not math.isfinite(means["loss"]):
            raise UserError(
                f"The training loss became {means['loss']} in epoch {self.current_epoch}, by step "
                f"{self.global_step}. A smaller optimizer.lr or trainer.gradient_clip_val=1 may help."
            )
        # as the last step had them
        shown = {**readings(self.model, self._step_before), **readings(self.own, self._step_before)}
        train = {f"train/{name}": value for name, value in (means | shown).items()}
        self.log_dict(train, prog_bar=True, sync_dist=True)  # the mean over devices

    # held-out images

    def on_validation_start(self) -> None:
        unround(self.val_metrics)

    def on_test_start(self) -> None:
        unround(self.test_metrics)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch, "val", self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch, "test", self.test_metrics)

    def on_validation_epoch_end(self) -> None:
        self._report("val", self.val_metrics, to_loggers=self.trainer.state.fn == TrainerFn.FITTING)

    def on_test_epoch_end(self) -> None:
        self._report("test", self.test_metrics, to_loggers=True)

    def _forward(self, batch: Batch, noise: Noise) -> Output:
        """The model's output in its own precision (trainer.precision=64-true, bf16-true)."""
        noise = Noise._make(part.to(self.dtype) for part in noise)
        output: Output = self.model(self._images(batch), noise, self.global_step, batch.y)
        return output

    def _measure(self, batch: Batch, split: str, metrics: MetricCollection) -> None:
        output = self._forward(batch, self._noise_of(split, batch))
        metrics.update(
            **output.stats._asdict(),
            x=batch.x,
            reconstruction=self.model.likelihood.mean(output.decoded),
            discrete=self.model.likelihood.discrete(batch.x),
            y=batch.y,
            factors=batch.factors,
            position=batch.position,
            distortion_of=partial(self._distortion_of, batch),
        )

    def _distortion_of(self, batch: Batch, z: Tensor, rows: Tensor) -> Tensor:
        """-log p(x|z) of the batch's images at ``rows`` (M,) with z (M, D) of any origin, (M,)."""
        y = None if batch.y is None else batch.y[rows]
        return -self.model.log_likelihood(self._images(batch)[rows], z[None], y)[0]

    def _images(self, batch: Batch) -> Tensor:
        """In the model's precision, or their own where it is the higher: half would round grey levels."""
        return batch.x.to(torch.promote_types(batch.x.dtype, next(self.model.parameters()).dtype))

    def _noise_of(self, split: str, batch: Batch) -> Noise:
        """The noise that belongs to these images of this split, from a table that grows as needed."""
        if batch.position is None:
            raise ValueError("held-out batches need the position of each image in its split")
        index = batch.position.cpu()
        # the first sample, the prior's, further samples: the first two are the same for any number of samples
        noises = 1 + self.model.samples
        table = self._held_out_noise.get(split, torch.empty(noises, 0, self.model.latent_dim))
        while table.shape[1] <= int(index.max()):
            random = generator(HELD_OUT_SEED, split, table.shape[1])
            rows = torch.randn(noises, NOISE_ROWS, self.model.latent_dim, generator=random)
            table = torch.cat([table, rows], dim=1)
        self._held_out_noise[split] = table
        first, prior, *further = table[:, index].to(batch.x.device)
        return Noise(torch.stack([first, *further]), prior)

    def _report(self, split: str, metrics: MetricCollection, to_loggers: bool) -> None:
        to_loggers = to_loggers and bool(self.trainer.loggers)
        results = {name: value.detach().float().cpu() for name, value in metrics.compute().items()}
        # torchmetrics makes a number of a vector of one: a vector stays one with a single latent dimension
        results = {n: value.reshape(-1) if n.endswith("_per_dim") else value for n, value in results.items()}
        metrics.reset()
        for name, value in results.items():
            # NaN may mean undefined, but a distortion always has a value, and nothing is infinite
            if value.isinf().any() or (name == "distortion" and value.isnan()):
                raise UserError(
                    f"{split}/{name} became {value.tolist()} in epoch {self.current_epoch}. "
                    "A smaller optimizer.lr or trainer.gradient_clip_val=1 may help."
                )
        self.results[split] = results
        for name, value in named_scalars(results).items():
            # NaN here means undefined (an autoencoder's rate): it is left out, so that panels stay blank
            if value.isfinite():
                # the metrics have been reduced over devices: sync_dist averages equal numbers
                self.log(f"{split}/{name}", value, prog_bar=name == "elbo", logger=to_loggers, sync_dist=True)

    # checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # plain types alone, so that torch.load(weights_only=True) reads it
        logged = self.trainer.callback_metrics
        checkpoint["vaelab"] = {
            **self.checkpoint_extra,
            "seed": self.seed,
            "window": self._window.state_dict(),
            "logged": {k: v.item() for k, v in logged.items() if k.startswith(("train/", "val/"))},
            "random": random_states(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        extra = checkpoint["vaelab"]
        self.seed, self.logged = extra["seed"], extra["logged"]
        self._restore = extra

    def on_train_start(self) -> None:
        self.set_total_steps(total_steps(self.trainer))
        # last of all, since what is built on the way may draw random numbers
        if self._restore is not None:
            self._window.load_state_dict(self._restore["window"], self.device)
            if self._window.steps and self.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
                self._window.close()  # the step before was logged after its checkpoint was written
            set_random_states(self._restore["random"])
            # what was logged last, for callbacks that look at it before it is logged again
            self.trainer.callback_metrics.update({k: torch.tensor(v) for k, v in self.logged.items()})
            self._restore = None


def parameter_groups(model: torch.nn.Module) -> list[Any]:
    """The parameters as an optimizer takes them: a group of its own for each module that asks for one.

    A module asks by an attribute ``optimizer_options``, which the optimizer's own settings give way to:
    ``{"lr": 1e-2, "weight_decay": 0.0}``. It applies to all parameters in it.
    """
    asking = [module for module in model.modules() if getattr(module, "optimizer_options", None)]
    own = [
        {"params": list(module.parameters()), **module.optimizer_options}  # type: ignore[dict-item]
        for module in asking
    ]
    apart = {id(parameter) for group in own for parameter in group["params"]}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    return [{"params": rest}, *own] if own else rest


def unround(metrics: torch.nn.Module) -> None:
    """Give sums the 32 bits back that trainer.precision=bf16-true took: with its 8, 256 + 1 is 256."""
    metrics._apply(lambda value: value.float() if value.dtype in (torch.bfloat16, torch.float16) else value)


def total_steps(trainer: pl.Trainer) -> float:
    """Optimizer steps of the whole training, from its epochs and steps; infinite if it ends by neither."""
    limits = [callback.steps for callback in trainer.callbacks if isinstance(callback, StopAfterSteps)]  # type: ignore[attr-defined]
    return min([trainer.estimated_stepping_batches, *limits])


def named_scalars(results: dict[str, Tensor]) -> dict[str, Tensor]:
    """One name for each number: a vector ``kl_per_dim`` becomes ``kl/dim_00``, ``kl/dim_01``, ..."""
    scalars: dict[str, Tensor] = {}
    for name, value in results.items():
        if value.ndim == 0:
            scalars[name] = value
        else:
            stem = name.removesuffix("_per_dim")
            scalars |= {f"{stem}/dim_{d:02d}": part for d, part in enumerate(value.flatten())}
    return scalars

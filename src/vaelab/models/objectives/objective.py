"""The objective: a weighted sum of named terms."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vaelab.functional.surrogate import with_gradient_of
from vaelab.models.objectives.weights import weight_of
from vaelab.models.requirements import Property
from vaelab.models.schedules import as_schedule
from vaelab.types import LatentStats

__all__ = ["Objective", "Term", "TermShape"]


class TermShape(ValueError):
    """A term returned a value whose mean would not be one over images."""


class Term(nn.Module):
    """One quantity in the objective: a function of :class:`LatentStats`, with a weight of its own.

    A new term implements :meth:`forward`, and names in ``needs`` what it reads that not every model has: a
    posterior's density, a KL of each dimension, codes. Two more methods are there for terms whose loss is
    not their value: :meth:`loss_value` and :meth:`auxiliary_loss`.

    ``per_image`` says that the loss gets the mean over images of a value that each image has by itself,
    whatever the others in its batch, so that the mean over validation images tells which weights are best. A
    statistic of the batch and a quantity that is driven to a target set it to False; their variants are
    measured at the last weights (``model.weights: last``).
    """

    per_image = True
    provides: frozenset[Property] = frozenset()
    needs: frozenset[Property] = frozenset()

    def __init__(self, weight: float | nn.Module = 1.0) -> None:
        super().__init__()
        self.weight = as_schedule(weight)

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        """The term in nats, unweighted, before the mean over images: (B,), (S, B) or (); nothing else.

        The mean of (B, D) would divide the sum over latent dimensions by D.
        """
        raise NotImplementedError

    def loss_value(self, value: Tensor, stats: LatentStats, step: int | Tensor) -> Tensor:
        """What the loss gets, (), where that is not the term's own mean ``value``, which is reported."""
        return value

    def aim(self) -> tuple[str, float] | None:
        """("rate" or "distortion", the nats that its mean is driven to at the end); None without a target."""
        return None

    def auxiliary_loss(self, stats: LatentStats, step: int | Tensor) -> Tensor | None:
        """A loss () that trains parameters of the term itself, such as a discriminator's.

        It gets the weight 1 whatever ``weight`` is, and must not reach the parameters of the model. Only its
        gradient counts: the objective's value does not change by it.
        """
        return None


class Objective(nn.Module):
    """loss = sum_i weight_i(step) * loss_value(mean(term_i)), in nats per image. A null term is left out.

    A weight (B,), of each image its own, is multiplied with the term before the mean. Of a term that is not
    ``per_image`` it must be the same for the whole batch.

    Raises:
        ValueError: no terms, or a name that torch reserves.
        TermShape: in :meth:`forward`, a term is neither (B,) nor (S, B) nor ().
    """

    def __init__(self, terms: Mapping[str, Term | None]) -> None:
        super().__init__()
        chosen = {name: term for name, term in terms.items() if term is not None}
        if not chosen:
            raise ValueError("the objective has no terms: nothing would be trained")
        try:
            self.terms = nn.ModuleDict(chosen)
        except KeyError as error:  # torch keeps a few names for itself, such as "train"
            raise ValueError(f"a term can't have that name: {error.args[0]}") from error

    @property
    def batch_terms(self) -> list[str]:
        """The names of the terms that are not ``per_image``."""
        return [name for name, term in self.terms.items() if not term.per_image]

    def per_image(self, stats: LatentStats) -> Tensor:
        """What is minimised, for each image: sum_i weight_i * term_i with every schedule at its end, (B,).

        Samples of z are averaged, and a term () is added to each image. The end of a schedule is its value
        at an infinite step. NaN with :attr:`batch_terms`, which no image has by itself.
        """
        end = stats.distortion.new_tensor(math.inf)
        total = torch.zeros_like(stats.distortion[0])
        if self.batch_terms:
            return total + math.nan
        for term in self.terms.values():
            value = term(stats, end)
            assert isinstance(term, Term)
            weight = weight_of(term.weight, end, stats)
            total = total + weight * (value.mean(0) if value.ndim == 2 else value)
        return total

    def forward(self, stats: LatentStats, step: int | Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and every term unweighted."""
        draws = stats.distortion.shape
        values: dict[str, Tensor] = {}
        total: Tensor | None = None
        auxiliary: list[Tensor] = []
        for name, term in self.terms.items():
            assert isinstance(term, Term)
            value = term(stats, step)
            if value.shape not in ((), draws[1:], draws):
                raise TermShape(
                    f"{name} returned the shape {tuple(value.shape)}; it must be (B,) = {tuple(draws[1:])}, "
                    f"(S, B) = {tuple(draws)} or (): sum over dimensions and pixels first"
                )
            values[name] = value.mean()
            weight = weight_of(term.weight, step, stats)
            if weight.ndim and term.per_image:  # each image has its own
                weighted = (weight * value).mean()
            else:
                common = weight.mean() if weight.ndim else weight
                weighted = common * term.loss_value(values[name], stats, step)
            total = weighted if total is None else total + weighted
            loss = term.auxiliary_loss(stats, step)
            auxiliary += [] if loss is None else [loss]
        assert total is not None
        for loss in auxiliary:
            total = with_gradient_of(total, total + loss)
        return total, values

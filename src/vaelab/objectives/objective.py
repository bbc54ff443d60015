"""The objective: a weighted sum of named terms."""

from collections.abc import Mapping

from torch import Tensor, nn

from vaelab.errors import UserError
from vaelab.schedules import as_schedule
from vaelab.types import LatentStats


class Term(nn.Module):
    """One quantity in the objective: a function of :class:`LatentStats`, with a weight of its own.

    A new term implements :meth:`forward` and nothing else. ``needs_density`` says that it reads log q or a
    KL, which a deterministic posterior does not have.
    """

    needs_density = False

    def __init__(self, weight: float | nn.Module = 1.0) -> None:
        super().__init__()
        self.weight = as_schedule(weight)

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        """The term in nats, unweighted, before the mean over images: (B,), (S, B) or ()."""
        raise NotImplementedError


class Objective(nn.Module):
    """loss = sum_i weight_i(step) * mean(term_i), in nats per image. A term set to null is left out."""

    def __init__(self, terms: Mapping[str, Term | None]) -> None:
        super().__init__()
        chosen = {name: term for name, term in terms.items() if term is not None}
        if not chosen:
            raise UserError("model.objective has no terms: nothing would be trained.")
        try:
            self.terms = nn.ModuleDict(chosen)
        except KeyError as error:  # torch keeps a few names for itself, such as "train"
            raise UserError(f"model.objective: a term can't have that name: {error.args[0]}.") from error

    def forward(self, stats: LatentStats, step: int | Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and every term unweighted."""
        values = {name: term(stats, step).mean() for name, term in self.terms.items()}
        weighted = [term.weight(step) * values[name] for name, term in self.terms.items()]  # type: ignore[operator]
        return sum(weighted[1:], start=weighted[0]), values

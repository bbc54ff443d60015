"""The objective: a weighted sum of named terms."""

from collections.abc import Mapping

from torch import Tensor, nn

from vaelab.errors import UserError
from vaelab.models.schedules import as_schedule
from vaelab.types import LatentStats


class Term(nn.Module):
    """One quantity in the objective: a function of :class:`LatentStats`, with a weight of its own.

    A new term implements :meth:`forward` and nothing else, unless what it minimises is another number than
    what it reports: :meth:`minimised`. ``needs_density`` says that it reads log q or a KL, which a
    deterministic posterior does not have; ``needs_parts``, that it reads the KL of each dimension, which a
    mixture or a flow as a prior does not have; ``needs_codes``, that it needs a codebook, and
    ``moves_codes``, one that learns by gradient;
    ``needs_diagonal``, that it takes the dimensions of q(z|x) to be independent;
    ``detached_log_q``, that log q be a function of z alone, its parameters without gradient.
    """

    needs_density = False
    needs_parts = False
    needs_codes = False
    moves_codes = False
    needs_diagonal = False
    detached_log_q = False

    def __init__(self, weight: float | nn.Module = 1.0) -> None:
        super().__init__()
        self.weight = as_schedule(weight)

    def forward(self, stats: LatentStats, step: int | Tensor) -> Tensor:
        """The term in nats, unweighted, before the mean over images: (B,), (S, B) or ()."""
        raise NotImplementedError

    def minimised(self, value: Tensor, stats: LatentStats, step: int | Tensor) -> Tensor:
        """What the loss gets, (), where it is not the term's own mean ``value``, which is reported."""
        return value


class Objective(nn.Module):
    """loss = sum_i weight_i(step) * minimised(mean(term_i)), in nats per image. A null term is left out."""

    def __init__(self, terms: Mapping[str, Term | None]) -> None:
        super().__init__()
        chosen = {name: term for name, term in terms.items() if term is not None}
        if not chosen:
            raise UserError("model.objective has no terms: nothing would be trained.")
        try:
            self.terms = nn.ModuleDict(chosen)
        except KeyError as error:  # torch keeps a few names for itself, such as "train"
            raise UserError(f"model.objective: a term can't have that name: {error.args[0]}.") from error

    @property
    def detached_log_q(self) -> bool:
        """Whether a term asks for that."""
        return any(term.detached_log_q for term in self.terms.values())

    def forward(self, stats: LatentStats, step: int | Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and every term unweighted."""
        values = {name: term(stats, step).mean() for name, term in self.terms.items()}
        weighted = [
            term.weight(step) * term.minimised(values[name], stats, step)  # type: ignore[operator]
            for name, term in self.terms.items()
        ]
        return sum(weighted[1:], start=weighted[0]), values

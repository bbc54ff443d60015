"""What is minimised: :class:`Objective`, a weighted sum of :class:`Term`, one file per family of terms."""

from vaelab.objectives.elbo import KL, Distortion
from vaelab.objectives.objective import Objective, Term

__all__ = ["KL", "Distortion", "Objective", "Term"]

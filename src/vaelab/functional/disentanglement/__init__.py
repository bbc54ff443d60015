"""Disentanglement metrics for codes from anywhere, as numpy arrays or tensors.

Codes are (N, D), posterior means unless said; factors (N, F), the classes of F ground-truth factors of the
same images. Protocols are those of disentanglement_lib (Locatello et al., 2019) where nothing else is said.

>>> import numpy as np
>>> from vaelab.functional.disentanglement import mig
>>> factors = np.array([[a, b] for a in range(3) for b in range(4)])
>>> mig(factors.astype(float), factors).score
1.0
"""

from vaelab.functional.disentanglement.dci import dci
from vaelab.functional.disentanglement.information import mig, mig_chen, modularity
from vaelab.functional.disentanglement.inputs import binned
from vaelab.functional.disentanglement.interventions import beta_vae_score, factor_vae_score
from vaelab.functional.disentanglement.irs import irs
from vaelab.functional.disentanglement.predictors import explicitness, sap
from vaelab.functional.disentanglement.scores import METRICS, as_classes, check_names, scores
from vaelab.functional.disentanglement.udr import SIMILARITIES, udr
from vaelab.functional.disentanglement.unsupervised import gaussian_total_correlation, wasserstein_correlation

__all__ = [
    "METRICS",
    "SIMILARITIES",
    "as_classes",
    "beta_vae_score",
    "binned",
    "check_names",
    "dci",
    "explicitness",
    "factor_vae_score",
    "gaussian_total_correlation",
    "irs",
    "mig",
    "mig_chen",
    "modularity",
    "sap",
    "scores",
    "udr",
    "wasserstein_correlation",
]

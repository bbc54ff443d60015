"""Heavier numbers of trained runs: what ``vaelab-evaluate`` computes.

An evaluation is built from plain settings (``conf/eval/``) and called with a
:class:`~vaelab.evaluation.trained_run.TrainedRun`. It returns two dictionaries:

- ``metrics``: flat names, numbers or lists of numbers; they become ``eval/<name>`` in the record and in W&B;
- ``protocol``: the method, its source and the sample sizes, in plain values.

One that makes no sense for a run raises :class:`~vaelab.evaluation.trained_run.NotApplicable` with the reason.
"""

"""Weights & Biases as a place to read a sweep: a workspace, a report, and a run that sums the sweep up."""

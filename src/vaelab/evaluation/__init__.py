"""Heavier numbers of a trained run, computed after training."""

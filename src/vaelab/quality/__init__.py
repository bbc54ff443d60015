"""How good samples and codes are: distances between sets of features, precision and recall, probes.

Plain functions of features and codes; ``vaelab.evaluation.quality`` applies them to a trained run.
"""

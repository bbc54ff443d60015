"""Pure tensor functions: densities, divergences, estimators, measures. No module, no config, no I/O."""

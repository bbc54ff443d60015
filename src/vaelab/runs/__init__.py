"""A run's record, resuming, locks, names, sweeps, launchers, status and text tables. No torch."""

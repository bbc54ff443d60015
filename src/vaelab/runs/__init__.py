"""The record of a run, resume, locks, names, sweeps, launchers, status and tables. No torch."""

"""The record of a run, resume, locks, naming, launchers, status. No torch."""

"""The commands. Light: torch and Lightning are imported inside of a job."""

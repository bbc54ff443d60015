"""The autoencoder and its parts: networks, posteriors, priors, likelihoods, objectives, schedules."""

"""Training: builds an experiment from a config and trains it."""

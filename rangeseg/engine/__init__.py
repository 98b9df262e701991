"""Training, evaluation and prediction: what turns the parts into the method."""

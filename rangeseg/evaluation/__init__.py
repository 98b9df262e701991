"""From pixel predictions of the network to labels of points or photographs, and their scores."""

"""From the network's pixels to labels of points, and their scores."""

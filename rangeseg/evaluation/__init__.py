"""From the pixels of the network to labels of points, and their scores."""

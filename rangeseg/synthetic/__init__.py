"""Procedural streets and the LiDAR that drives through them."""

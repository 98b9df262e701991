"""Procedural streets and a simulated LiDAR that drives through them."""

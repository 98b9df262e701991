"""Photographs: datasets, views and pictures. `View` and `Raster` are the types shared with range images."""

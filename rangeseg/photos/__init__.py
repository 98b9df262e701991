"""Photographs: their datasets, views and pictures. They meet the range view at `View` and `Raster`."""

"""LiDAR datasets: sources of scans, and their views. `rangeseg.catalog` lists them all."""

"""LiDAR datasets: where scans come from, and how they become views. `rangeseg.catalog` lists them all."""

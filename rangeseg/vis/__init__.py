"""Pictures of scans: panels, points from above, an interactive viewer."""

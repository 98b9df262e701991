"""Pictures of scans: panels, points from above, animations, an interactive viewer."""

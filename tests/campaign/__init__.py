"""The hostile campaign: kills, damaged files, full disks, bombs, links and pipes; `python -m pytest tests/campaign`."""

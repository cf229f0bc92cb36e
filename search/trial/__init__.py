"""One trial: its objective, its record, its files and snapshots."""

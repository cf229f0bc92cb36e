"""What the rest stands on: errors, files, TOML, records, tables; no series."""

"""Where studies are stored: databases opened, retried and held by one driver at a time."""

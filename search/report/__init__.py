"""What a study found: significance, verdict, the held-out test, the report."""

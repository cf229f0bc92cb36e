"""The engine: one driver owns a study, and any executor trains its trials."""

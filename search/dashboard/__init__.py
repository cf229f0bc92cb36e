"""optuna-dashboard behind a guard."""

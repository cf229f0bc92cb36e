"""Forecasts, baselines, and how good they are."""

"""Forecasts, baselines, and what either is worth."""

"""Figures of studies and forecasts."""

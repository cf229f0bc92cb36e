"""Thin, runnable studies: python -m foretune.studies.quickstart."""

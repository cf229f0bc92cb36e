"""Recurrent networks: cells, dropout, layers, and their weights."""

"""How programs are compiled and where they run."""

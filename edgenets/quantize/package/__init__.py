"""The package (.epk): an entropy coder in NumPy alone, which a board has too."""

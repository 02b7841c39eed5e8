"""Trained weights from elsewhere: published, fetched, read from files without running their code."""

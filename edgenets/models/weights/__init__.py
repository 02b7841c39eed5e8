"""Trained weights from elsewhere: published, fetched, read without running stored code."""

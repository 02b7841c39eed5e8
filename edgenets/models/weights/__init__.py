"""Trained weights from elsewhere: which are published, how they are fetched and taken over."""

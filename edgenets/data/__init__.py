"""Images: preparation, folder datasets, the built-in digits, seeded splits."""

"""The stages of a run: each makes its folder from the previous one's and measures what it made."""

"""Many recipes tried for one model: what is smallest, or fastest, within a loss."""

"""The Coral Edge TPU: its compiler's rules, a prediction by them, its outcome."""

"""Codes chosen for few bits: what an error costs, and what a code takes."""

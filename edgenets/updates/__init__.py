"""Signed updates of models on boards: a repository of releases, and the two slots of a board."""

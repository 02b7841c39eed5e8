"""What the verbs return, by kind."""

"""Many runs as one search: a space of nets, what bounds it, and the front of what was found."""

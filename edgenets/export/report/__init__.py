"""The page that shows a run, its charts, and where an int8 file's error comes from."""

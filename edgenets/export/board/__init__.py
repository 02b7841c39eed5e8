"""What is sent to a board: standard library, NumPy, an interpreter; nothing of edgenets."""

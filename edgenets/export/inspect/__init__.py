"""What is in a `.tflite` file, edgenets' or not, and what limits it."""

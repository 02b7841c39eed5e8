"""From a model to a checked `.tflite` file."""

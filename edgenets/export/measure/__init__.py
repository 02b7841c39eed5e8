"""What a `.tflite` file does: its answers, accuracy, latency, memory and instructions."""

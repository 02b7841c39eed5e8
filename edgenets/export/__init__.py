"""Ship it: .tflite files, their verification, evaluation, benchmark and report."""

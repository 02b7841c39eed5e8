"""Firmware: a `.tflite` as C++ sources for the microcontroller runtime, TFLM."""

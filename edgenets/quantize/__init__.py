"""Make it small: prune, share weights, quantization-aware training, size accounting."""

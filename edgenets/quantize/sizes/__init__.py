"""What a compressed model takes: counts, Huffman codes, the size accounting."""

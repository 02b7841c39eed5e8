"""Trained weights of other tools: files -> the tensors of a net, without running stored code."""

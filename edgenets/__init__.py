"""Image classifiers from Keras to edge boards: built, trained, compressed, exported, measured.

`import edgenets` loads no TensorFlow; what needs it loads it when it is called.
"""

__version__ = "0.1.0"

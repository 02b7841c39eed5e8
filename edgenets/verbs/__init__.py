"""The verbs of `import edgenets as en`, which has their names: one call, one result.

A verb takes what its command takes, by the same names and with the same defaults, and returns a
`Model`, a `File` or what it measured. The work is done in the rooms below; what needs TensorFlow is
imported when a verb that needs it is called.
"""

"""Images in memory (or rendered on demand), cut into batches by index tensors; one file per source.

A source is a function that returns a :class:`~vaelab.data.images.Source`; nothing else is needed to add one.
"""

"""ImmatureDetector as a detector of other libraries: one file a library, which imports it."""

"""One thread, as a job of a study has by default: small tensors gain nothing from two, which wait for one another."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the jobs that tests start inherit it

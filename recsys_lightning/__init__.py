"""recsys_lightning: a PyTorch Lightning research framework for recommender systems."""

import os

__version__ = "0.1.0"

# Threads that wait for one another by spinning slow a busy machine down many times over, most of all with the small
# operators of recommenders; it is read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

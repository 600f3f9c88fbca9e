"""`recsys data`: which data sets there are, what is in them, where they come from, what is wrong with them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recsys_lightning.data.audit import audit, report
from recsys_lightning.data.describe import catalogue, describe
from recsys_lightning.data.download import download
from recsys_lightning.data.prepare import prepare
from recsys_lightning.data.recipe import Recipe
from recsys_lightning.data.sources import SOURCES

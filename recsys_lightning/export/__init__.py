"""Trained models as folders of plain files, for `recsys serve`."""

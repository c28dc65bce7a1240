"""Public data sets: where they officially live, fetching them, checking them, and making LR folders from HR ones."""

from superfine.datasets.catalogue import DataSet, RemoteFile, catalogue, dataset_named
from superfine.datasets.fetch import fetch
from superfine.datasets.prepare import prepare
from superfine.datasets.verify import verify

__all__ = ["DataSet", "RemoteFile", "catalogue", "dataset_named", "fetch", "prepare", "verify"]

"""Fetch public data sets from their official addresses, verify them, and make LR folders from HR ones."""

from superfine.datasets.catalogue import DataSet, RemoteFile, catalogue, dataset_named
from superfine.datasets.fetch import fetch
from superfine.datasets.prepare import prepare
from superfine.datasets.verify import verify

__all__ = ["DataSet", "RemoteFile", "catalogue", "dataset_named", "fetch", "prepare", "verify"]

"""The walk from file to file on a cluster of machines, by Ray. Needs `superfine[fleet]`."""

"""One file for each picture format, or each kind of reader or writer."""

"""The files a training run leaves beside its weights: log, charts, crops and page."""

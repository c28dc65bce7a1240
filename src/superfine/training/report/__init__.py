"""What a training run leaves behind: its log, charts, crops and page."""

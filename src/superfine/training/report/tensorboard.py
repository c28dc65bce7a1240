"""TensorBoard: scalars and sample pictures of a run. The only file that imports it, and only when asked."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from superfine.errors import TrainingError, install_command
from superfine.training.report.crops import DetailedCrop, Pixels
from superfine.training.report.run_log import LogRow


def installed() -> bool:
    """Return True if TensorBoard can be imported."""
    return importlib.util.find_spec("tensorboard") is not None


class TensorBoard:
    """Writes a run's events into `folder`; look at them with `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path, from_step: int) -> None:
        """Open the folder. from_step: what an earlier launch of the run wrote after this step is hidden.

        Raises TrainingError if TensorBoard is not installed.
        """
        if not installed():
            raise TrainingError(f"TensorBoard is not installed: {install_command('train')}, or leave --tensorboard out")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=from_step + 1 if from_step else None)

    def row(self, row: LogRow) -> None:
        """Write loss, rate and speed of one row of the log."""
        self.writer.add_scalar("train/loss", row.loss, row.step)
        self.writer.add_scalar("train/rate", row.rate, row.step)
        self.writer.add_scalar("train/pictures per second", row.pictures_per_second, row.step)

    def validated(self, entry: dict[str, Any], bicubic: dict[int, float]) -> None:
        """Write PSNR by scale (dB, standard), and its lead over bicubic."""
        for scale, value in entry["psnr"].items():
            self.writer.add_scalar(f"psnr/x{scale}", value, entry["step"])
            self.writer.add_scalar(f"over bicubic/x{scale}", value - bicubic[int(scale)], entry["step"])
        self.writer.flush()

    def pictures(self, step: int, upscaled: list[tuple[DetailedCrop, Pixels]]) -> None:
        """Write LR, bicubic, network and original side by side, one picture a crop."""
        for crop, sr in upscaled:
            crops = [crop.lr_crop(), crop.cut(crop.bicubic()), crop.cut(sr), crop.cut(crop.hr)]
            tag = f"picture {crop.number + 1}/x{crop.scale}: LR, bicubic, network, original"
            self.writer.add_image(tag, np.concatenate(crops, axis=1), step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()

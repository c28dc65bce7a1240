"""TensorBoard: scalars and sample pictures of a run. The only file that imports it, and only when asked."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from superfine.errors import TrainingError, install_command
from superfine.training.report.crops import Pixels, Sample
from superfine.training.report.run_log import Row


def installed() -> bool:
    """Whether TensorBoard can be imported."""
    return importlib.util.find_spec("tensorboard") is not None


class Board:
    """Writes a run's events into `folder`; look at them with `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path, from_step: int) -> None:
        """from_step: what an earlier sitting wrote after this step is hidden.

        Raises TrainingError if TensorBoard is not installed.
        """
        if not installed():
            raise TrainingError(f"TensorBoard is not installed: {install_command('train')}, or leave --tensorboard out")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=from_step + 1 if from_step else None)

    def row(self, row: Row) -> None:
        """Loss, rate and speed of one row of the log."""
        self.writer.add_scalar("train/loss", row.loss, row.step)
        self.writer.add_scalar("train/rate", row.rate, row.step)
        self.writer.add_scalar("train/pictures per second", row.pictures_per_second, row.step)

    def validated(self, entry: dict[str, Any], bicubic: dict[int, float]) -> None:
        """PSNR by scale (dB, standard), and its lead over bicubic."""
        for scale, value in entry["psnr"].items():
            self.writer.add_scalar(f"psnr/x{scale}", value, entry["step"])
            self.writer.add_scalar(f"over bicubic/x{scale}", value - bicubic[int(scale)], entry["step"])
        self.writer.flush()

    def pictures(self, step: int, made: list[tuple[Sample, Pixels]]) -> None:
        """LR, bicubic, network and original side by side, one picture a sample."""
        for sample, sr in made:
            crops = [sample.lr_crop(), sample.crop(sample.bicubic()), sample.crop(sr), sample.crop(sample.hr)]
            tag = f"picture {sample.number + 1}/x{sample.scale}: LR, bicubic, network, original"
            self.writer.add_image(tag, np.concatenate(crops, axis=1), step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()

"""A ComfyUI node that enlarges images with superfine. Copy this folder into ComfyUI/custom_nodes.

superfine must be installed in the Python that runs ComfyUI. Interface: https://docs.comfy.org/custom-nodes
"""

from __future__ import annotations

from typing import Any

import superfine

try:  # in ComfyUI; elsewhere there is no bar, and nothing to interrupt
    from comfy.model_management import throw_exception_if_processing_interrupted as check_interrupted
    from comfy.utils import ProgressBar
except ImportError:
    ProgressBar = None

    def check_interrupted() -> None:
        """Go on."""


class SuperfineUpscale:
    """Enlarge a batch of images, [B, H, W, 3] float 0..1, by any factor."""

    CATEGORY = "image/upscaling"
    DESCRIPTION = "Enlarge images with CFSRCNN, ESRGCNN or any model superfine reads; tiles do not change the result."
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"

    def __init__(self) -> None:
        self._opened: tuple[tuple[str, str], superfine.Upscaler] | None = None

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Describe the node's inputs to ComfyUI."""
        names = [entry.name for entry in superfine.list_models()]
        return {
            "required": {
                "image": ("IMAGE",),
                "model": (names, {"default": names[0]}),
                "scale": ("FLOAT", {"default": 2.0, "min": 1.0, "max": 16.0, "step": 0.25}),
            },
            "optional": {
                "file": (
                    "STRING",
                    {"default": "", "tooltip": "A weights file, net.onnx or hf:owner/name, instead of model."},
                ),
                "precision": (["auto", "fp32", "tf32", "bf16", "fp16", "int8"], {"default": "auto"}),
            },
        }

    def upscale(self, image: Any, model: str, scale: float, file: str = "", precision: str = "auto") -> tuple[Any]:
        """Enlarge every image of the batch. Raises superfine.SuperfineError, whose message is for people."""
        upscaler = self._open(file.strip() or model, precision)
        bar = None if ProgressBar is None else ProgressBar(1000)

        def progress(share: float) -> None:
            check_interrupted()
            if bar is not None:
                bar.update_absolute(int(share * 1000))

        larger = upscaler(image.detach().float().permute(0, 3, 1, 2), scale, progress=progress)
        return (larger.permute(0, 2, 3, 1).contiguous().cpu(),)

    def _open(self, model: str, precision: str) -> superfine.Upscaler:
        """Keep the network of the last run open, as most runs use the same."""
        wanted = model, precision
        if self._opened is None or self._opened[0] != wanted:
            if self._opened is not None:
                self._opened[1].close()
            self._opened = wanted, superfine.Upscaler(model, precision=precision)
        return self._opened[1]


NODE_CLASS_MAPPINGS = {"SuperfineUpscale": SuperfineUpscale}
NODE_DISPLAY_NAME_MAPPINGS = {"SuperfineUpscale": "Upscale (superfine)"}

"""Hand-made operations: the forms in which a device computes the networks fastest."""

from __future__ import annotations

import torch


def native_bf16(device: torch.device) -> bool:
    """Say if `device` multiplies bf16 numbers itself. A CPU that does not takes fifty times as long as for fp32."""
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)

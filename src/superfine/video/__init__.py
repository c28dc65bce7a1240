"""Upscale every frame of a video and copy everything else. Needs PyAV (`superfine[video]`)."""

from superfine.errors import VideoError, install_command

try:
    import av  # noqa: F401
except ModuleNotFoundError as error:
    raise VideoError(f"videos need PyAV, which is not installed: {install_command('video')}") from error

from superfine.video.run import Options, Summary, upscale_video

__all__ = ["Options", "Summary", "upscale_video"]

"""Upscale every frame of a video and copy everything else. Needs PyAV (`superfine[video]`)."""

from superfine.errors import VideoError, install_command

try:
    import av  # noqa: F401
except ModuleNotFoundError as error:
    raise VideoError(f"videos need PyAV, which is not installed: {install_command('video')}") from error

from superfine.video.run import DEFAULT_SCALE, Options, Summary, upscale_video

__all__ = ["DEFAULT_SCALE", "Options", "Summary", "upscale_video"]

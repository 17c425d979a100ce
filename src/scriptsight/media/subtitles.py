"""Subtitle tracks inside video files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av

from scriptsight.catalogue import Cue
from scriptsight.media.reader import MediaError

# ISO 639-2 codes, as tracks carry them, that don't begin with the two letters of ISO 639-1.
_THREE_LETTERS = {
    "cs": {"ces", "cze"},
    "de": {"deu", "ger"},
    "es": {"spa"},
    "id": {"ind"},
    "ja": {"jpn"},
    "nl": {"nld", "dut"},
    "pl": {"pol"},
    "pt": {"por"},
    "sv": {"swe"},
    "tr": {"tur"},
    "zh": {"zho", "chi"},
}
_TEXT = {"ass", "mov_text", "ssa", "srt", "subrip", "text", "webvtt"}  # FFmpeg's decoders that give text


def embedded_cues(path: str | Path, language: str | None = None) -> list[Cue]:
    """The cues of a text track of `path`, in its order; none if it has no such track.

    The first track in `language` (ISO 639: `en`, `en-GB` or `eng`) is read, else the first that names no
    language; without `language` simply the first. Pictures (DVD, Blu-ray, DVB) are no text and passed over.
    Times are seconds from the container's start, as those of frames.

    Raises:
        MediaError: the file or its track can't be read.
    """
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = _track(container.streams.subtitles, language)
            if stream is None:
                if any(stream.codec_context is None for stream in container.streams.subtitles):
                    detail = (
                        "FFmpeg has no decoder for it (WebVTT in Matroska): extract it to a .vtt beside the video"
                    )
                    raise MediaError(path, "unreadable subtitle track", detail)
                return []
            origin = (container.start_time or 0) / av.time_base
            return [
                Cue(start, start + float(packet.duration * packet.time_base), text)
                for packet in container.demux(stream)
                if packet.pts is not None and packet.duration and packet.time_base is not None
                for start in [float(packet.pts * packet.time_base) - origin]
                if (text := " ".join(_text(subtitle) for subtitle in stream.decode(packet)).strip())
            ]
    except (av.FFmpegError, OSError) as error:
        raise MediaError(path, "unreadable subtitle track", str(error)) from error


def _track(streams: Any, language: str | None) -> Any | None:
    texts = [stream for stream in streams if stream.codec_context and stream.codec_context.name in _TEXT]
    if language is None:
        return texts[0] if texts else None
    wanted = language.lower().split("-")[0]
    for stream in texts:
        spoken = (stream.language or "").lower()
        if spoken.startswith(wanted) or spoken in _THREE_LETTERS.get(wanted, set()):
            return stream
    return next((stream for stream in texts if stream.language in (None, "", "und")), None)


def _text(subtitle: Any) -> str:
    """Plain text of one decoded entry: FFmpeg turns every text format into ASS."""
    text = subtitle.dialogue.decode("utf-8", errors="replace")
    text = re.sub(r"\\[Nnh]", " ", re.sub(r"\{[^}]*\}", "", text)).replace("\0", " ")
    return " ".join(text.split())

"""Every awkward file ends as frames or as a refusal with its reason, in time.

The files are those beside the repository; a new one among them needs its line here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from scriptsight.media import Failed, MediaError, frames_at_rate, isolated, probe

LIMIT = 20.0  # seconds for a file
SIDE = 32  # pixels

# (frames at 4 a second, width, height as shown), and the reason where it breaks; or the reason for refusing it.
Outcome = tuple[int, int, int] | tuple[int, int, int, str] | str
TABLE: dict[str, Outcome] = {
    "decord/corrupted.mp4": (11, 1280, 720, "broken stretch"),
    "decord/unordered.mov": (1, 50, 50),
    "decord/video_0.mov": (1, 568, 320),
    "decord/video_180.mov": (1, 568, 320),
    "decord/video_270.mov": (1, 320, 568),
    "decord/video_90.mov": (1, 320, 568),
    "exoplayer/avi/sample.avi": (17, 960, 400),
    "exoplayer/drm/sample_fragmented_clearkey.mp4": "unreadable video",
    "exoplayer/flv/sample-with-key-frame-index.flv": (12, 320, 180),
    "exoplayer/flv/sample.flv": (4, 1080, 720),
    "exoplayer/mkv/full_blocks.mkv": "no video stream",
    "exoplayer/mkv/sample.mkv": (4, 1080, 720),
    "exoplayer/mkv/sample_with_htc_rotation_track_name.mkv": (4, 1080, 720),
    "exoplayer/mkv/sample_with_null_terminated_srt.mkv": (4, 1080, 720),
    "exoplayer/mkv/sample_with_null_terminated_ssa_subtitles.mkv": (5, 1080, 720),
    "exoplayer/mkv/sample_with_null_terminated_vtt_subtitles.mkv": (4, 1080, 720),
    "exoplayer/mkv/sample_with_opus_audio.mkv": "no video stream",
    "exoplayer/mkv/sample_with_srt.mkv": (4, 1080, 720),
    "exoplayer/mkv/sample_with_ssa_subtitles.mkv": (5, 1080, 720),
    "exoplayer/mkv/sample_with_vorbis_audio.mkv": (4, 1080, 720),
    "exoplayer/mkv/sample_with_vtt_subtitles.mkv": (4, 1080, 720),
    "exoplayer/mkv/subsample_encrypted_altref.webm": "unreadable video",
    "exoplayer/mkv/subsample_encrypted_noaltref.webm": "unreadable video",
    "exoplayer/mp4/dolbyVision-hdr.MOV": (1, 720, 1280),
    "exoplayer/mp4/h265_with_metadata_track.mp4": (1, 1080, 1920),
    "exoplayer/mp4/hdr10-video-with-sdr-container.mp4": (4, 1920, 1080),
    "exoplayer/mp4/midroll-5s.mp4": (20, 640, 360),
    "exoplayer/mp4/portrait_4k60.mp4": (2, 2160, 3840),
    "exoplayer/mp4/postroll-5s.mp4": (20, 640, 360),
    "exoplayer/mp4/preroll-5s.mp4": (20, 640, 360),
    "exoplayer/mp4/sample.mp4": (4, 1080, 720),
    "exoplayer/mp4/sample_18byte_nclx_colr.mp4": (4, 1080, 720),
    "exoplayer/mp4/sample_ac3.mp4": "no video stream",
    "exoplayer/mp4/sample_ac3_aac.mp4": "no video stream",
    "exoplayer/mp4/sample_ac3_fragmented.mp4": "no video stream",
    "exoplayer/mp4/sample_ac4.mp4": "no video stream",
    "exoplayer/mp4/sample_ac4_fragmented.mp4": "no video stream",
    "exoplayer/mp4/sample_ac4_protected.mp4": "no video stream",
    "exoplayer/mp4/sample_android_slow_motion.mp4": (2, 1280, 720),
    "exoplayer/mp4/sample_av1.mp4": (4, 1080, 720),
    "exoplayer/mp4/sample_dthd.mp4": "no video stream",
    "exoplayer/mp4/sample_eac3.mp4": "no video stream",
    "exoplayer/mp4/sample_eac3_fragmented.mp4": "no video stream",
    "exoplayer/mp4/sample_eac3joc.mp4": "no video stream",
    "exoplayer/mp4/sample_eac3joc_fragmented.mp4": "no video stream",
    "exoplayer/mp4/sample_fragmented.mp4": (5, 1080, 720),
    "exoplayer/mp4/sample_fragmented_large_bitrates.mp4": (5, 1080, 720),
    "exoplayer/mp4/sample_fragmented_seekable.mp4": (5, 1080, 720),
    "exoplayer/mp4/sample_fragmented_sei.mp4": (5, 1080, 720),
    "exoplayer/mp4/sample_fragmented_sideloaded_track.mp4": "unreadable video",
    "exoplayer/mp4/sample_mdat_too_long.mp4": (4, 1080, 720),
    "exoplayer/mp4/sample_mpegh_mha1.mp4": "no video stream",
    "exoplayer/mp4/sample_mpegh_mhm1.mp4": "no video stream",
    "exoplayer/mp4/sample_opus.mp4": "no video stream",
    "exoplayer/mp4/sample_opus_fragmented.mp4": "no video stream",
    "exoplayer/mp4/sample_partially_fragmented.mp4": (5, 1080, 720),
    "exoplayer/mp4/sample_sef_slow_motion.mp4": (9, 320, 240),
    "exoplayer/mp4/sample_sef_super_slow_motion.mp4": (58, 160, 120),
    "exoplayer/mp4/sample_with_color_info.mp4": (2, 1080, 1920),
    "exoplayer/mp4/sample_with_colr_mdcv_and_clli.mp4": (4, 1920, 1080),
    "exoplayer/mp4/sample_with_increasing_timestamps.mp4": (4, 1920, 1080),
    "exoplayer/mp4/sample_with_increasing_timestamps_320w_240h.mp4": (63, 320, 240),
    "exoplayer/mp4/sample_with_increasing_timestamps_360p.mp4": (69, 640, 360),
    "exoplayer/mp4/testvid_1022ms.mp4": (4, 480, 360),
    "exoplayer/ts/bbb_2500ms.ts": (10, 1920, 1080),
    "exoplayer/ts/sample_ac3.ts": "no video stream",
    "exoplayer/ts/sample_ac4.ts": "no video stream",
    "exoplayer/ts/sample_ait.ts": "no video stream",
    "exoplayer/ts/sample_eac3.ts": "no video stream",
    "exoplayer/ts/sample_eac3joc.ts": "no video stream",
    "exoplayer/ts/sample_h262_mpeg_audio.ts": (1, 640, 426),
    "exoplayer/ts/sample_h263.ts": (4, 640, 360),
    "exoplayer/ts/sample_h264_dts_audio.ts": (1, 640, 426),
    "exoplayer/ts/sample_h264_mpeg_audio.ts": (1, 640, 426),
    "exoplayer/ts/sample_h264_no_access_unit_delimiters.ts": (1, 640, 426),
    "exoplayer/ts/sample_h265.ts": (4, 854, 480),
    "exoplayer/ts/sample_h265_rps_pred.ts": (5, 914, 686),
    "exoplayer/ts/sample_latm.ts": "no video stream",
    "exoplayer/ts/sample_scte35.ts": (2, 640, 426),
    "exoplayer/ts/sample_with_sdt.ts": "unreadable video",
    "exoplayer/vp9/bear-vp9-odd-dimensions.webm": (4, 161, 121),
    "exoplayer/vp9/bear-vp9.webm": (11, 320, 240),
    "exoplayer/vp9/invalid-bitstream.webm": "unreadable video",
    "exoplayer/vp9/roadtrip-vp92-10bit.webm": (12, 426, 240),
    "mp4parse/mp4parse__amr_nb_1f.3gp": "no video stream",
    "mp4parse/mp4parse__amr_wb_1f.3gp": "no video stream",
    "mp4parse/mp4parse__bbb_sunflower_QCIF_30fps_h263_noaudio_1f.3gp": (1, 216, 144),
    "mp4parse/mp4parse__bbb_sunflower_QCIF_30fps_mp4v_noaudio_1f.mp4": (1, 256, 144),
    "mp4parse/mp4parse__bipbop-cenc-audioinit.mp4": "no video stream",
    "mp4parse/mp4parse__bipbop_480wp_1001kbps-cenc-video-key1-init.mp4": "unreadable video",
    "mp4parse/mp4parse__bipbop_cbcs_audio_init.mp4": "no video stream",
    "mp4parse/mp4parse__bipbop_cbcs_video_init.mp4": "unreadable video",
    "mp4parse/mp4parse__h264_white_frame_sar_16_9.mp4": (1, 1138, 480),
    "mp4parse/mp4parse__hevc_white_frame.mp4": (1, 640, 480),
    "mp4parse/mp4parse__invalid_userdata.mp4": "unreadable video",
    "mp4parse/mp4parse__metadata.mp4": (1, 320, 240),
    "mp4parse/mp4parse__metadata_gnre.mp4": (1, 320, 240),
    "mp4parse/mp4parse__minimal.mp4": (1, 320, 240),
    "mp4parse/mp4parse__sine-3s-xhe-aac-44khz-mono.mp4": "no video stream",
    "mp4parse/mp4parse__test_case_1185230.mp4": "unreadable video",
    "mp4parse/mp4parse__tiny_av1.mp4": (1, 64, 64),
    "mp4parse/mp4parse__video_colr_nclx_and_icc.mp4": (1, 2, 2),
    "mp4parse/mp4parse__video_colr_nclx_two_colr.mp4": (1, 2, 2),
    "mp4parse/mp4parse_capi__afconvert-aac-0.5s.mp4": "no video stream",
    "mp4parse/mp4parse_capi__av1-clearkey-cbcs-video.mp4": (4, 160, 90),
    "mp4parse/mp4parse_capi__bipbop_audioinit.mp4": "no video stream",
    "mp4parse/mp4parse_capi__bipbop_cbcs_video_init.mp4": "unreadable video",
    "mp4parse/mp4parse_capi__bipbop_nonfragment_header.mp4": "unreadable video",
    "mp4parse/mp4parse_capi__chunk_out_of_range.mp4": "unreadable video",
    "mp4parse/mp4parse_capi__no_timescale.mp4": (1, 320, 240, "broken stretch"),
    "mp4parse/mp4parse_capi__opus_audioinit.mp4": "no video stream",
    "mp4parse/mp4parse_capi__opus_audioinit_two_desc.mp4": "no video stream",
    "mp4parse/mp4parse_capi__short-cenc.mp4": "unreadable video",
    "mp4parse/mp4parse_capi__sine-3s-xhe-aac-44khz-mono.mp4": "no video stream",
    "mp4parse/mp4parse_capi__video_colr_nclx_hdr10.mp4": (1, 2, 2),
    "mp4parse/mp4parse_capi__video_colr_nclx_hdr10_full_range.mp4": (1, 2, 2),
    "mp4parse/mp4parse_capi__video_colr_nclx_hlg.mp4": (1, 2, 2),
    "mp4parse/mp4parse_capi__video_colr_nclx_hlg_full_range.mp4": (1, 2, 2),
    "mp4parse/mp4parse_capi__video_colr_nclx_rgb.mp4": (1, 2, 2),
    "mp4parse/mp4parse_capi__video_colr_nclx_two_colr.mp4": (1, 2, 2),
    "mp4parse/mp4parse_capi__video_rotation_90.mp4": (1, 60, 100),
    "mp4parse/mp4parse_capi__white.mp4": (40, 320, 240),
    "mp4parse/mp4parse_capi__zero_empty_stsc.mp4": "unreadable video",
    "torchcodec/av1_video.mkv": (20, 640, 360),
    "torchcodec/bt709_full_range.mp4": (4, 1280, 720),
    "torchcodec/h264_10bits.mp4": (4, 200, 200),
    "torchcodec/h265_10bits.mp4": (4, 200, 200),
    "torchcodec/h265_video.mp4": (4, 128, 128),
    "torchcodec/nasa_13013.mp4": (52, 480, 270),
}


def outcomes(paths: Sequence[Path]) -> list[Outcome]:
    return [outcome(path) for path in paths]


def outcome(path: Path) -> Outcome:
    try:
        info = probe(path)
    except MediaError as error:
        return error.reason
    count = 0
    try:
        for frame in frames_at_rate(path, 4, SIDE):
            count += 1
            height, width = frame.image.shape[:2]
            assert min(height, width) == SIDE
            assert width / height == pytest.approx(info.width / info.height, rel=0.5 / SIDE)
            assert -0.01 <= frame.time < info.duration
    except MediaError as error:
        return count, info.width, info.height, error.reason
    return count, info.width, info.height


def test_the_whole_table(shared_data: Path) -> None:
    folder = shared_data / "awkward_videos"
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "LICENSE")
    assert {path.relative_to(folder).as_posix() for path in paths} == set(TABLE)
    chunks = [paths[i : i + 16] for i in range(0, len(paths), 16)]
    found: dict[str, Outcome] = {}
    done = isolated(outcomes, chunks, workers=2, timeout=LIMIT)
    for chunk, result in (outcome for _, outcomes_of_chunk in done for outcome in outcomes_of_chunk):
        assert not isinstance(result, Failed), f"{chunk}: {result}"
        found |= {path.relative_to(folder).as_posix(): one for path, one in zip(chunk, result, strict=True)}
    assert found == TABLE

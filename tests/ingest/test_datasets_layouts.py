"""Small made-up copies of each published layout: who is found, in which split, and what is said of it."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scriptsight.catalogue import Cue
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import READERS, recordings
from scriptsight.params.collections import WebDatasetCollection
from tests.ingest.test_datasets import put, read

MakeVideo = Callable[..., Path]


def write(path: Path, *lines: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def dump(path: Path, value: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)


def splits(found: dict[str, Any]) -> dict[str, str]:
    return {key: entry.split for key, entry in found.items()}


def test_webvid(tmp_path: Path) -> None:
    put(tmp_path / "videos", "000001_000050/11.mp4", "000051_000100/12.mp4", "000051_000100/13.mp4")
    head = "videoid,contentUrl,duration,page_dir,name"
    train = write(
        tmp_path / "train.csv",
        head,
        "11,https://x/11.mp4,PT00H00M10S,000001_000050,Waves at dusk",
        '12,https://x/12.mp4,PT00H00M10S,000051_000100,"Red, green"',
        "99,https://x/99.mp4,PT00H00M10S,000051_000100,Gone",
    )
    val = write(tmp_path / "val.csv", head, "13,https://x/13.mp4,PT00H00M10S,000051_000100,Fog")
    found, rejects = read(kind="webvid", path=str(tmp_path / "videos"), annotations={"train": train, "val": val})
    assert splits(found) == {"11": "train", "12": "train", "13": "val"}
    assert found["12"].captions == ("Red, green",)
    assert found["12"].uri == f"{tmp_path}/videos/000051_000100/12.mp4"
    assert rejects == [("missing video", f"{train}:4")]


def test_webvid_page_dir_distinguishes_equal_names(tmp_path: Path) -> None:
    put(tmp_path / "v", "p1/1.mp4", "p2/1.mp4")
    train = write(tmp_path / "t.csv", "videoid,page_dir,name", "1,p2,x")
    found, _ = read(kind="webvid", path=str(tmp_path / "v"), annotations={"train": train})
    assert found["1"].uri.endswith("/p2/1.mp4")


def test_cc3m_by_the_hash_of_the_url(tmp_path: Path) -> None:
    urls = [f"http://x.org/{i}.jpg?a=1" for i in range(4)]
    codes = [zlib.crc32(url.encode()) for url in urls]
    put(tmp_path / "images", f"training/0_{codes[0]}", f"training/{codes[1]}.jpg", f"training/7_{codes[2]}")
    train = write(tmp_path / "Train.tsv", *(f'a "picture" {i}\t{url}' for i, url in enumerate(urls)), "no tab")
    found, rejects = read(kind="cc3m", path=str(tmp_path / "images"), annotations={"train": train})
    assert {entry.captions[0]: Path(entry.uri).name for entry in found.values()} == {
        'a "picture" 0': f"0_{codes[0]}",
        'a "picture" 1': f"{codes[1]}.jpg",
    }
    assert rejects == [
        ("missing video", f"{train}:3"),
        ("missing video", f"{train}:4"),
        ("bad row", f"{train}:5"),
    ]
    with pytest.raises(InputError, match="no tab in its first line"):
        read(kind="cc3m", path=str(tmp_path / "images"), annotations={"train": write(tmp_path / "x.tsv", "a,b")})


def test_cc3m_by_file_name(tmp_path: Path) -> None:
    put(tmp_path / "images", "training/12.png")
    train = write(tmp_path / "ok.tsv", "caption\tpath", "a cat\ttraining/12.png", "x\t../../etc/passwd")
    found, rejects = read(kind="cc3m", path=str(tmp_path / "images"), annotations={"train": train})
    assert [entry.captions for entry in found.values()] == [("a cat",)]
    assert rejects == [("unsafe name", f"{train}:3")]


def test_cc3m_of_img2dataset(tmp_path: Path) -> None:
    folder = put(
        tmp_path / "cc3m", "train/00000/000000000.jpg", "train/00001/000010000.jpg", "val/00000/000000000.jpg"
    )
    rows: dict[str, list[tuple[str, str | None, str]]] = {
        "train/00000": [("000000000", "a cat", "success"), ("000000001", "gone", "failed_to_download")],
        "train/00001": [("000010000", "a dog", "success"), ("000010001", None, "success")],
        "val/00000": [("000000000", "a cow", "success")],
    }
    for shard, values in rows.items():
        table = [dict(zip(("key", "caption", "status"), row, strict=True)) for row in values]
        pq.write_table(pa.Table.from_pylist(table), folder / f"{shard}.parquet")
    (folder / "train/00002.parquet").write_bytes(b"PAR1 not really")
    found, rejects = read(
        kind="cc3m", path=str(folder), annotations={split: str(folder / split) for split in ("train", "val")}
    )
    assert {key: (entry.split, entry.captions[0], entry.uri) for key, entry in found.items()} == {
        "train-000000000": ("train", "a cat", f"{folder}/train/00000/000000000.jpg"),
        "train-000010000": ("train", "a dog", f"{folder}/train/00001/000010000.jpg"),
        "val-000000000": ("val", "a cow", f"{folder}/val/00000/000000000.jpg"),
    }
    assert sorted(rejects) == [
        ("bad row", f"{folder}/train/00001.parquet:2"),
        ("missing video", f"{folder}/train/00000.parquet:2"),
        ("unreadable shard", f"{folder}/train/00002.parquet"),
    ]


HEAD = "label,youtube_id,time_start,time_end,split"


def test_kinetics_trimmed_clips(tmp_path: Path) -> None:
    put(
        tmp_path / "k",
        "train/riding a bike/-abcdefghij_000010_000020.mp4",
        "train/riding_a_bike/same_000001_000011.mp4",
        "train/other/same_000001_000011.mp4",
        "val/KLM.mp4",
    )
    train = write(
        tmp_path / "train.csv",
        HEAD,
        "riding a bike,-abcdefghij,10,20,train",
        "riding a bike,same,1,11,train",
        "riding a bike,lost,1,11,train",
        "riding a bike,odd,ten,20,train",
        "riding a bike,odd,20,10,train",
        "riding a bike,odd,inf,nan,train",
    )
    val = write(tmp_path / "val.csv", HEAD, '"clay, making",KLM,5.0,15.0,validate')
    titles = dump(tmp_path / "titles.json", {"KLM": "My  pot ", "same": 3})
    found, rejects = read(
        kind="kinetics", path=str(tmp_path / "k"), annotations={"train": train, "test": val}, titles=titles
    )
    assert splits(found) == {
        "-abcdefghij_000010_000020": "train",
        "KLM_000005_000015": "test",
        "same_000001_000011": "train",
    }
    assert found["same_000001_000011"].uri == f"{tmp_path}/k/train/riding_a_bike/same_000001_000011.mp4"
    pot = found["KLM_000005_000015"]
    assert (pot.title, pot.label, pot.start, pot.end) == ("My pot", "clay, making", None, None)
    assert rejects == [("bad row", f"{titles}#same"), ("missing video", f"{train}:4")] + [
        ("bad row", f"{train}:{line}") for line in (5, 6, 7)
    ]


def test_kinetics_whole_videos_and_a_list_without_labels(tmp_path: Path) -> None:
    put(tmp_path / "k", "KLM.webm")
    test = write(tmp_path / "test.csv", "youtube_id,time_start,time_end,split", "KLM,5,15,test", "KLM,20,30,test")
    titles = write(tmp_path / "titles.csv", "youtube_id,title", 'KLM,"A pot, mine"')
    found, rejects = read(
        kind="kinetics", path=str(tmp_path / "k"), annotations={"test": test}, clips="whole", titles=titles
    )
    assert {(e.start, e.end, e.title, e.label, Path(e.uri).name) for e in found.values()} == {
        (5.0, 15.0, "A pot, mine", None, "KLM.webm"),
        (20.0, 30.0, "A pot, mine", None, "KLM.webm"),
    }
    assert rejects == []


def test_clips_of_one_recording_go_to_one_side(tmp_path: Path) -> None:
    names = [(f"v{i}", start) for i in range(60) for start in (0, 10)]
    put(tmp_path / "k", *(f"{name}_{start:06d}_{start + 10:06d}.mp4" for name, start in names))
    train = write(tmp_path / "t.csv", HEAD, *(f"run,{name},{start},{start + 10},train" for name, start in names))
    found, _ = read(kind="kinetics", path=str(tmp_path / "k"), annotations={"train": train}, val_share=0.3)
    sides = {name: {e.split for key, e in found.items() if key.startswith(f"{name}_")} for name, _ in names}
    assert all(len(side) == 1 for side in sides.values())
    assert {"train", "val"} == set().union(*sides.values())


def test_ssv2(tmp_path: Path) -> None:
    put(tmp_path / "v", "78687.webm", "1.webm")
    potato = {
        "id": "78687",
        "label": "holding potato next to vicks vaporub bottle",
        "template": "Holding [something] next to [something]",
        "placeholders": ["potato", "vicks vaporub bottle"],
    }
    train = dump(tmp_path / "train.json", [potato])
    test = dump(tmp_path / "test.json", [{"id": "1"}])
    found, rejects = read(kind="ssv2", path=str(tmp_path / "v"), annotations={"train": train, "test": test})
    assert found["78687"].label == "Holding something next to something"
    assert found["78687"].captions == (potato["label"],)
    assert (found["1"].label, found["1"].captions, found["1"].split) == (None, (), "test")
    assert rejects == []


def test_ucf101_validation_takes_whole_groups(tmp_path: Path) -> None:
    clips = [f"Archery/v_Archery_g{g:02d}_c{c:02d}.avi" for g in range(1, 40) for c in (1, 2, 3)]
    put(tmp_path / "UCF-101", *clips)
    write(tmp_path / "lists/trainlist02.txt", *(f"{clip} 3" for clip in clips[9:]), "/etc/passwd 1", "../a/b.avi 1")
    write(tmp_path / "lists/testlist02.txt", *clips[:9])
    keys = {"kind": "ucf101", "path": str(tmp_path / "UCF-101"), "annotations": str(tmp_path / "lists"), "fold": 2}
    found, rejects = read(**keys)
    assert sorted(splits(found).values()) == ["test"] * 9 + ["train"] * 108
    assert [reason for reason, _ in rejects] == ["bad row", "bad row"]
    found, _ = read(**keys, val_share=0.3)
    of_group: dict[str, set[str]] = {}
    for key, split in splits(found).items():
        of_group.setdefault(key[:-4], set()).add(split)
    assert all(len(sides) == 1 for sides in of_group.values())
    assert {"train", "val", "test"} == set().union(*of_group.values())
    with pytest.raises(InputError, match=r"no file .*trainlist03\.txt"):
        read(**keys | {"fold": 3})


def test_hmdb51(tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    put(tmp_path / "v", "sit/#1_a b&c_sit_u_0.avi", "sit/two_sit_u_1.avi", "stand/three_stand_u_1.avi")
    write(lists / "sit_test_split1.txt", "#1_a b&c_sit_u_0.avi 1 ", "two_sit_u_1.avi 2 ", "none_sit.avi 0 ", "x 1")
    write(lists / "stand_test_split1.txt", "three_stand_u_1.avi 2", "lost_stand_u_1.avi 1")
    write(lists / "sit_test_split2.txt", "two_sit_u_1.avi 1 ")
    keys = {"kind": "hmdb51", "path": str(tmp_path / "v"), "annotations": str(lists)}
    found, rejects = read(**keys)
    assert {(entry.label, entry.split, Path(entry.uri).name) for entry in found.values()} == {
        ("sit", "train", "#1_a b&c_sit_u_0.avi"),
        ("sit", "test", "two_sit_u_1.avi"),
        ("stand", "test", "three_stand_u_1.avi"),
    }
    assert rejects == [
        ("bad row", f"{lists}/sit_test_split1.txt:4"),
        ("missing video", f"{lists}/stand_test_split1.txt:2"),
    ]
    assert list(splits(read(**keys, fold=2)[0]).values()) == ["train"]
    with pytest.raises(InputError, match=r"_test_split3\.txt"):
        read(**keys, fold=3)


def test_msrvtt_full_and_1ka(tmp_path: Path) -> None:
    put(tmp_path / "v", *(f"TrainValVideo/video{i}.mp4" for i in range(4)), "TestVideo/video9.mp4")
    official = ["train", "train", "validate", "train", "test"]
    data = {
        "info": {},
        "videos": [{"video_id": f"video{i}", "split": s} for i, s in zip((0, 1, 2, 3, 9), official, strict=True)],
        "sentences": [{"video_id": f"video{i}", "caption": f"{i} {n}"} for n in "ab" for i in (0, 1, 2, 3, 9)],
    }
    path = dump(tmp_path / "MSRVTT_data.json", data)
    keys = {"kind": "msrvtt", "path": str(tmp_path / "v"), "annotations": [path]}
    found, rejects = read(**keys)
    assert splits(found) == {
        "video0": "train", "video1": "train", "video2": "val", "video3": "train", "video9": "test",
    }  # fmt: skip
    assert found["video9"].captions == ("9 a", "9 b")
    lists = {
        "train": write(tmp_path / "9k.csv", "video_id", "video0", "video9"),
        "test": write(tmp_path / "jsf.csv", "key,vid_key,video_id,sentence", "ret0,msr3,video3,one sentence"),
    }
    found, rejects = read(**keys, lists=lists)
    assert splits(found) == {"video0": "train", "video3": "test", "video9": "train"}
    assert found["video3"].captions == ("one sentence",)
    assert found["video0"].captions == ("0 a", "0 b")
    assert rejects == []
    with pytest.raises(InputError, match="holds nothing that can be read here"):
        read(**keys | {"annotations": [dump(tmp_path / "other.json", {"annotations": []})]})


@pytest.mark.parametrize("form", ["txt", "csv"])
def test_msvd(form: str, tmp_path: Path) -> None:
    put(tmp_path / "v", "-4wsuPCjDBc_5_15.avi", "xyz_1_2.avi", "quiet_1_2.avi")
    said = [
        ("-4wsuPCjDBc", 5, 15, "a squirrel eats"),
        ("-4wsuPCjDBc", 5, 15, "an animal, eating"),
        ("xyz", 1, 2, "b"),
    ]
    if form == "txt":
        lines = [f"{video}_{start}_{end} {text}" for video, start, end, text in said]
        captions = write(tmp_path / "All.txt", "# License", "# of the data", "", *lines)
    else:
        out = io.StringIO()
        rows = csv.writer(out)
        rows.writerow(["VideoID", "Start", "End", "WorkerID", "Source", "AnnotationTime", "Language", "Description"])
        rows.writerows([v, s, e, 1, "clean", 9, "English", text] for v, s, e, text in said)
        rows.writerow(["xyz", 1, 2, 1, "clean", 9, "German", "ein b"])
        captions = write(tmp_path / "corpus.csv", *out.getvalue().splitlines())
    lists = {
        "train": write(tmp_path / "train_list.txt", "-4wsuPCjDBc_5_15", "quiet_1_2"),
        "test": write(tmp_path / "test_list.txt", "xyz_1_2", "lost_1_2"),
    }
    keys = {"kind": "msvd", "path": str(tmp_path / "v"), "annotations": lists}
    found, rejects = read(**keys, captions=captions)
    assert {key: (entry.split, entry.captions) for key, entry in found.items()} == {
        "-4wsuPCjDBc_5_15": ("train", ("a squirrel eats", "an animal, eating")),
        "xyz_1_2": ("test", ("b",)),
    }
    assert rejects == [("no captions", f"{lists['train']}:2"), ("no captions", f"{lists['test']}:2")]
    with pytest.raises(InputError, match="is a pickle"):
        read(**keys, captions="raw-captions.pkl")


def test_didemo_joins_the_descriptions_of_a_video(tmp_path: Path) -> None:
    put(tmp_path / "v", "1@N_2_ab.mov.mp4", "3@N_4_cd.mp4", "5@N_6_ef.mp4")
    rows = [
        {"video": "1@N_2_ab.mov", "description": "first a dog."},
        {"video": "3@N_4_cd.avi", "description": "alone"},
        {"video": "1@N_2_ab.mp4", "description": "then a cat"},
        {"video": "5@N_6_ef.", "description": "no suffix"},
        {"video": "7@N_8_gh.mov", "description": "lost"},
    ]
    train = dump(tmp_path / "train_data.json", rows)
    found, rejects = read(kind="didemo", path=str(tmp_path / "v"), annotations={"train": train})
    assert {Path(entry.uri).name: entry.captions for entry in found.values()} == {
        "1@N_2_ab.mov.mp4": ("first a dog. then a cat.",),
        "3@N_4_cd.mp4": ("alone.",),
        "5@N_6_ef.mp4": ("no suffix.",),
    }
    assert rejects == [("missing video", f"{train}#5")]


def test_lsmdc(tmp_path: Path) -> None:
    clips = [f"0001_American_Beauty_00.00.5{i}.926-00.00.54.129" for i in range(3)]
    put(tmp_path / "avi", f"0001_American_Beauty/{clips[0]}.avi", f"{clips[1]}.mp4")
    times = "00.00.51.926\t00.00.54.129\t00.00.51.926\t00.00.54.129"
    test = write(
        tmp_path / "test.csv",
        f'{clips[0]}\t{times}\tSOMEONE says "no.',
        f"{clips[1]}\t{times}\tShe waits.",
        f"{clips[0]}\t{times}\tHe goes.",
        f"{clips[2]}\t{times}\tGone.",
        "half a line",
        f"../../etc/passwd\t{times}\tx",
    )
    found, rejects = read(kind="lsmdc", path=str(tmp_path / "avi"), annotations={"test": test})
    assert {Path(entry.uri).name: entry.captions for entry in found.values()} == {
        f"{clips[0]}.avi": ('SOMEONE says "no.', "He goes."),
        f"{clips[1]}.mp4": ("She waits.",),
    }
    assert rejects == [("bad row", f"{test}:5"), ("missing video", f"{test}:4"), ("unsafe name", f"{test}:6")]


def test_instagram(tmp_path: Path) -> None:
    put(tmp_path / "v", "trimmed_resize_a1.mp4", "b2.mp4")
    rows = {
        "a1": {"subset": "training", "caption": "sunny #beach ☀"},
        "b2": {"subset": "validation", "caption": "b"},
        "c3": {"subset": "training", "caption": "gone"},
        "d4": {"subset": "extra", "caption": "d"},
        "../../e": {"subset": "training", "caption": "e"},
    }
    path = dump(tmp_path / "ins.json", rows)
    found, rejects = read(kind="instagram", path=str(tmp_path / "v"), annotations=path)
    assert {key: (entry.split, entry.captions) for key, entry in found.items()} == {
        "a1": ("train", ("sunny #beach ☀",)),
        "b2": ("val", ("b",)),
    }
    assert rejects == [("missing video", f"{path}#c3"), ("bad row", f"{path}#d4"), ("unsafe name", f"{path}#../../e")]


SPOKEN = {
    "zz": {"start": [0.5, 3], "end": [3, 4.25], "text": ["take a bolt", "and turn it"]},
    "aa": {"start": [], "end": [], "text": []},
    "short": {"start": [1.0], "end": [], "text": ["x"]},
    "odd": {"start": ["1", 4, None], "end": [2, 5, 6], "text": ["x\0", None, "y"]},
    "list": [1, 2],
    "lost": {"start": [1], "end": [2], "text": ["x"]},
}


def test_howto100m_all_that_is_in_the_captions(tmp_path: Path) -> None:
    put(tmp_path / "v", *(f"{key}.webm" for key in SPOKEN if key != "lost"))
    captions = dump(tmp_path / "raw_caption.json", SPOKEN)
    keys = {"kind": "howto100m", "path": str(tmp_path / "v"), "captions": captions, "val_share": 0.0}
    found, rejects = read(**keys)
    assert {key: entry.cues for key, entry in found.items()} == {
        "aa": (),
        "odd": (
            Cue(1.0, 2.0, "x"),
        ),  # YouTube's silence is a cue without text; a time that is none belongs to no cue
        "zz": (Cue(0.5, 3.0, "take a bolt"), Cue(3.0, 4.25, "and turn it")),
    }
    assert rejects == [("bad row", f"{captions}#{key}") for key in ("short", "list")] + [
        ("missing video", f"{captions}#lost")
    ]
    (tmp_path / "cut.json").write_bytes((tmp_path / "raw_caption.json").read_bytes()[:60])
    with pytest.raises(InputError, match=r"cut\.json can't be read"):
        read(**keys | {"captions": str(tmp_path / "cut.json")})


def test_howto100m_of_the_list_with_captions_of_either_form(tmp_path: Path) -> None:
    put(tmp_path / "v", "zz.mp4", "silent.mp4", "lost.mp4")
    chosen = write(
        tmp_path / "HowTo100M_v1.csv",
        "video_id,category_1,category_2,rank,task_id",
        "zz,Cars & Other Vehicles,Cars,1,2",
        "silent,Health,,1,2",
        "silent,Health,,1,2",
        "gone,Health,,1,2",
    )
    keys = {"kind": "howto100m", "path": str(tmp_path / "v"), "annotations": chosen}
    found, rejects = read(**keys, captions=dump(tmp_path / "raw_caption.json", SPOKEN))
    assert {key: (e.label, e.cues and len(e.cues), e.script) for key, e in found.items()} == {
        "silent": ("Health", None, None),
        "zz": ("Cars & Other Vehicles", 2, None),
    }
    assert rejects == [("duplicate id", f"{chosen}:4"), ("missing video", f"{chosen}:5")]
    put(tmp_path / "captions", "zz.csv", "lost.csv")
    found, _ = read(**keys, captions=str(tmp_path / "captions"))
    assert {key: e.script for key, e in found.items()} == {"silent": None, "zz": f"{tmp_path}/captions/zz.csv"}


def test_yt_temporal(tmp_path: Path) -> None:
    put(tmp_path / "v", "0/-aA.mp4", "1/bB.mkv", "cC.mp4")
    put(tmp_path / "j", "x/-aA.grover.json", "bB.json", "bB.grover.json", "bB.info.json", "lost.json")
    keys = {"kind": "yt_temporal", "path": str(tmp_path / "v"), "annotations": str(tmp_path / "j")}
    found, rejects = read(**keys, val_share=1.0)
    assert {key: (e.split, e.script, e.uri) for key, e in found.items()} == {
        "-aA": ("val", f"{tmp_path}/j/x/-aA.grover.json", f"{tmp_path}/v/0/-aA.mp4"),
        "bB": ("val", f"{tmp_path}/j/bB.grover.json", f"{tmp_path}/v/1/bB.mkv"),
    }
    assert rejects == [("duplicate id", f"{tmp_path}/j/bB.json"), ("missing video", f"{tmp_path}/j/lost.json")]


# ----------------------------------------------------------------------------------- yt-dlp, WebDataset


def info(folder: Path, stem: str, **keys: Any) -> None:
    dump(folder / f"{stem}.info.json", {"title": f"{stem} it is", "description": "long\ntext"} | keys)


def test_yt_dlp(tmp_path: Path) -> None:
    put(tmp_path, "A [a1].mp4", "A [a1].en.vtt", "A [a1].de.vtt", "A [a1].live_chat.json", "B. b.webm", "B.webm")
    put(
        tmp_path,
        "C.mp4",
        "C.en-orig.vtt",
        "C.en.vtt",
        "C.en-GB.vtt",
        "C. x.vtt",
        "two.mp4",
        "two.mkv",
        "bare.mp4",
        "bad.mp4",
    )
    info(tmp_path, "A [a1]", id="a1", language="de", subtitles={"en": []})
    info(tmp_path, "B. b", id="b2", language=None)
    info(tmp_path, "C", id="c3", language="en-US", subtitles={"en-GB": []})
    info(tmp_path, "two", id="d4")
    info(tmp_path, "gone", id="e5")
    info(tmp_path, "list", id="PL1", _type="playlist")
    (tmp_path / "bad.info.json").write_text("[" * 100_000)
    keys = {"kind": "yt_dlp", "path": str(tmp_path)}
    found, rejects = read(**keys)
    chosen = {key: (Path(e.script).name if e.script else None, e.language, e.embedded) for key, e in found.items()}
    assert chosen == {
        "a1": ("A [a1].de.vtt", "de", False),
        "b2": (None, None, True),
        "c3": ("C.en-GB.vtt", "en-GB", False),
    }
    assert found["b2"].uri == f"{tmp_path}/B. b.webm"
    assert (found["a1"].title, found["a1"].captions) == ("A [a1] it is", ())
    assert sorted(rejects) == [
        ("ambiguous video", f"{tmp_path}/two.info.json"),
        ("captions not used", f"{tmp_path}/C. x.vtt"),
        ("missing video", f"{tmp_path}/gone.info.json"),
        ("no info.json", f"{tmp_path}/B.webm"),
        ("no info.json", f"{tmp_path}/bare.mp4"),
        ("unreadable info.json", f"{tmp_path}/bad.info.json"),
    ]
    found, _ = read(**keys, languages=["fr", "en"], description=True)
    assert [Path(found[key].script or "").name for key in ("a1", "c3")] == ["A [a1].en.vtt", "C.en-GB.vtt"]
    assert found["a1"].captions == ("long text",)
    found, rejects = read(**keys, languages=["fr"])
    looked_into = {key: (e.script, e.embedded, e.language) for key, e in found.items()}
    assert looked_into == dict.fromkeys(["a1", "b2", "c3"], (None, True, "fr"))
    assert [uri for reason, uri in rejects if reason == "captions in other languages"] == [
        f"{tmp_path}/A [a1].mp4",
        f"{tmp_path}/C.mp4",
    ]


def test_yt_dlp_with_an_open_choice_of_language(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "a.en.vtt", "a.de.vtt")
    for hostile in ("../../a", "\ud800"):
        info(tmp_path, "a", id=hostile)
        found, rejects = read(kind="yt_dlp", path=str(tmp_path))
        assert found == {}
        assert [reason for reason, _ in rejects] == ["captions in several languages", "unsafe name"]
    info(tmp_path, "a", id="a")
    found, rejects = read(kind="yt_dlp", path=str(tmp_path))
    assert found["a"].script is None
    info(tmp_path, "a", id="a", subtitles={"en": []})  # the German one is a machine's
    found, rejects = read(kind="yt_dlp", path=str(tmp_path))
    assert (found["a"].script, rejects) == (f"{tmp_path}/a.en.vtt", [])
    with pytest.raises(InputError, match="--write-info-json"):
        read(kind="yt_dlp", path=str(put(tmp_path / "other", "a.mp4")))


def tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


def test_webdataset(make_video: MakeVideo, tmp_path: Path) -> None:
    video = make_video(tmp_path / "real.mp4", seconds=1).read_bytes()
    said = [{"start": "00:00:01.500", "end": "00:01:00.000", "lines": ["so", "then"]}, {"start": "?"}]
    meta = {
        "caption": "of the json",
        "status": "success",
        "yt_meta_dict": {"info": {"title": "T", "language": "en"}, "subtitles": {"en": said, "de": said}},
    }
    tar(
        tmp_path / "d/train/00000.tar",
        {
            "./a.mp4": video,
            "./a.txt": "﻿a  cat\n".encode(),
            "./a.json": json.dumps(meta).encode(),
            "x/b.JPG": b"",
            "x/b.cls": b"7",
            "c.mp4": b"",
            "c.en.vtt": b"WEBVTT",
            "c.de.vtt": b"WEBVTT",
            "e.mp4": b"",
            "e.pt-BR.vtt": b"WEBVTT",
            "lost.json": b'{"status": "failed_to_download"}',
            "bad.mp4": b"",
            "bad.json": b"{",
            "../../etc/up.mp4": b"",
            "/etc/abs.mp4": b"",
            "caf\udce9.mp4": b"",  # a name in Latin-1
        },
    )
    tar(tmp_path / "d/val/00000.tar", {"a.mp4": b"", "a.vtt": b"WEBVTT"})
    tar(tmp_path / "d/zip/1.tar", {"a.mp4": b""}, "w:gz")
    (tmp_path / "d/zip/cut.tar").write_bytes((tmp_path / "d/train/00000.tar").read_bytes()[:2000])
    tar(tmp_path / "d/else.tar", {"a.mp4": b""})
    table = {"val/*": "val", "train/*": "train", "zip/*": "train"}
    found, rejects = read(kind="webdataset", path=str(tmp_path / "d"), splits=table, languages=["de"])
    assert splits(found) == {
        "train_00000_c": "train",
        "train_00000_e": "train",
        "train_00000_x_b": "train",
        "train_00000___a": "train",
        "val_00000_a": "val",
    }
    cat, archive = found["train_00000___a"], f"{tmp_path}/d/train/00000.tar"
    assert (cat.captions, cat.title, cat.language, cat.script) == (("a cat",), "T", "de", None)
    assert cat.cues == (Cue(1.5, 60.0, "so then"),)
    with fsspec.open(cat.uri) as file:
        assert file.read() == video
    assert found["train_00000_c"].script == f"tar://c.de.vtt::{archive}"
    assert (found["train_00000_x_b"].label, found["train_00000_x_b"].uri) == ("7", f"tar://x/b.JPG::{archive}")
    assert {key: e.language for key, e in found.items() if e.embedded} == {
        "train_00000_e": "de",
        "train_00000_x_b": "de",
        "val_00000_a": "de",
    }
    assert sorted(rejects) == [
        ("captions in other languages", f"tar://a.mp4::{tmp_path}/d/val/00000.tar"),
        ("captions in other languages", f"tar://e.mp4::{archive}"),
        ("missing video", f"{archive}#lost"),
        ("no split", f"{tmp_path}/d/else.tar"),
        ("unreadable archive", f"{tmp_path}/d/zip/1.tar"),
        ("unreadable archive", f"{tmp_path}/d/zip/cut.tar"),
        ("unreadable sample", f"{archive}#bad"),
        ("unsafe name", f"{archive}#../../etc/up"),
        ("unsafe name", f"{archive}#/etc/abs"),
        ("unsafe name", f"{archive}#caf\\udce9"),
    ]


def test_captions_in_the_json_of_a_webdataset(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for key, meta in {
        "list": {"caption": ["a  cat", "a pet", "", 7]},
        "text": {"caption": None, "text": "a cat"},
        "none": {"clip_subtitles": [{"start": "?", "lines": ["lost"]}], "clips": [[0, 5]]},
    }.items():
        files |= {f"{key}.mp4": b"", f"{key}.json": json.dumps(meta).encode()}
    tar(tmp_path / "d/0.tar", files)
    found, rejects = read(kind="webdataset", path=str(tmp_path / "d"), val_share=0.0, test_share=0.0)
    assert {key: entry.captions for key, entry in found.items()} == {
        "0_list": ("a cat", "a pet"),
        "0_text": ("a cat",),
        "0_none": (),
    }
    assert rejects == [("captions not used", f"tar://none.mp4::{tmp_path}/d/0.tar")]


def test_webdataset_splits_by_hash_and_own_language(tmp_path: Path) -> None:
    meta = json.dumps({"yt_meta_dict": {"info": {"language": "en"}}}).encode()
    members = {f"{i:03d}.{kind}": b"" for i in range(300) for kind in ("mp4", "en.vtt", "fr.vtt")}
    tar(tmp_path / "0.tar", members | {"000.json": meta})
    found, rejects = read(kind="webdataset", path=str(tmp_path), val_share=0.2, test_share=0.2)
    shares = [list(splits(found).values()).count(split) / 300 for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.1)  # 3.5 standard deviations
    assert found["0_000"].script == f"tar://000.en.vtt::{tmp_path}/0.tar"
    assert {reason for reason, _ in rejects} == {"captions in several languages"}
    assert len(rejects) == 299


@pytest.mark.parametrize(
    "archive", ["1.tar.gz", "1.tgz", "1.tar.bz2", "1.tar.xz", "1.tar.zst", "1.TAR.GZ", "1.zip", "deep/1.7z"]
)
def test_an_archive_that_is_no_plain_tar_is_a_row_with_its_remedy(archive: str, tmp_path: Path) -> None:
    tar(tmp_path / "0.tar", {"a.mp4": b""})
    put(tmp_path, archive, "index.json.gz")
    found, rejects = read(kind="webdataset", path=str(tmp_path))
    assert set(found) == {"0_a"}
    assert rejects == [("archive that is no plain .tar", f"{tmp_path}/{archive}")]
    (tmp_path / "0.tar").unlink()
    details = [one.detail for one in READERS["webdataset"]("it", collection(tmp_path)).rejects()]
    assert len(details) == 1 and "unpack it" in details[0] and "tar" in details[0]


def collection(folder: Path) -> WebDatasetCollection:
    return WebDatasetCollection(kind="webdataset", path=str(folder))


def test_captions_in_an_archive_by_every_name_and_those_that_no_video_takes(tmp_path: Path) -> None:
    names = ["a.mp4", "a.en.hi.srt", "b.mp4", "b_en.srt", "c.MP4", "c.English.srt", "d.mp4", "d.foo bar.srt", "e.srt"]
    tar(tmp_path / "0.tar", dict.fromkeys([*names, "a.eng.srt", "a.en.vtt"], b""))
    found, rejects = read(kind="webdataset", path=str(tmp_path))
    scripts = {key: e.script and e.script.removesuffix(f"::{tmp_path}/0.tar") for key, e in found.items()}
    assert scripts == {"0_a": "tar://a.en.vtt", "0_b": "tar://b_en.srt", "0_c": "tar://c.English.srt", "0_d": None}
    tried = [uri.removesuffix(f"::{tmp_path}/0.tar") for uri, _ in found["0_a"].fallbacks]
    assert tried == ["tar://a.en.hi.srt", "tar://a.eng.srt"]
    assert sorted(rejects) == [
        ("captions not used", f"tar://d.foo bar.srt::{tmp_path}/0.tar"),
        ("captions not used", f"tar://e.srt::{tmp_path}/0.tar"),
    ]


def test_captions_of_yt_dlp_are_tried_in_order(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "a.en.vtt", "a.en.srt", "a.en-GB.vtt", "a.de.vtt", "a_en.srt", "b.en.vtt")
    info(tmp_path, "a", id="a", extractor_key="Youtube")
    found, rejects = read(kind="yt_dlp", path=str(tmp_path), languages=["en", "de"])
    tried = [Path(uri).name for uri in (found["a"].script, *(uri for uri, _ in found["a"].fallbacks)) if uri]
    assert tried == ["a.en.vtt", "a.en.srt", "a_en.srt", "a.en-GB.vtt", "a.de.vtt"]
    assert found["a"].recording == "youtube/a"
    assert sorted(rejects) == [("captions not used", f"{tmp_path}/{name}") for name in ("a_en.srt", "b.en.vtt")]


def test_one_recording_has_one_name_in_all_collections(tmp_path: Path) -> None:
    """A YouTube video is the same one as a Kinetics clip, of MSR-VTT, MSVD, HowTo100M, yt-dlp and video2dataset."""
    youtube, folder = "-4wsuPCjDBc", tmp_path / "v"
    put(folder, f"{youtube}_000005_000015.mp4", f"{youtube}_5_15.avi", f"{youtube}.mp4", "video0.mp4")
    row = write(tmp_path / "k.csv", "label,youtube_id,time_start,time_end,split", f"x,{youtube},5,15,train")
    url = f"https://www.youtube.com/watch?v={youtube}&t=5"
    videos = [{"video_id": "video0", "split": "test", "url": url}]
    msrvtt = dump(tmp_path / "m.json", {"videos": videos, "sentences": [{"video_id": "video0", "caption": "a"}]})
    said = {youtube: {"start": [0], "end": [1], "text": ["a"]}}
    tar(
        tmp_path / "t/0.tar",
        {"a.mp4": b"", "a.json": json.dumps({"url": f"https://youtu.be/{youtube}?si=1"}).encode()},
    )
    train = {"train": write(tmp_path / "train.txt", f"{youtube}_5_15")}
    kinds: list[dict[str, Any]] = [
        {"kind": "kinetics", "annotations": {"train": row}},
        {"kind": "msrvtt", "annotations": [msrvtt]},
        {"kind": "msvd", "annotations": train, "captions": write(tmp_path / "d.txt", f"{youtube}_5_15 a squirrel")},
        {"kind": "howto100m", "captions": dump(tmp_path / "raw_caption.json", said)},
        {"kind": "webdataset", "path": str(tmp_path / "t")},
    ]
    for keys in kinds:
        found, _ = read(**{"path": str(folder)} | keys)
        assert [entry.recording for entry in found.values()] == [f"youtube/{youtube}"], keys["kind"]


def test_clips_of_one_source_have_one_recording(tmp_path: Path) -> None:
    put(tmp_path / "v", "v_Archery_g01_c01.avi", "v_Archery_g01_c02.avi", "v_Archery_g02_c01.avi")
    clips = [f"Archery/v_Archery_{clip}.avi 1" for clip in ("g01_c01", "g01_c02", "g02_c01")]
    write(tmp_path / "l/trainlist01.txt", *clips)
    write(tmp_path / "l/testlist01.txt", "Archery/v_Archery_g09_c01.avi")
    found, _ = read(kind="ucf101", path=str(tmp_path / "v"), annotations=str(tmp_path / "l"))
    assert [entry.recording for _, entry in sorted(found.items())] == [
        "ucf101/v_Archery_g01", "ucf101/v_Archery_g01", "ucf101/v_Archery_g02",
    ]  # fmt: skip
    put(tmp_path / "h", "Film_sit_u_0.avi", "Film_sit_f_1.avi")
    write(tmp_path / "hl/sit_test_split1.txt", "Film_sit_u_0.avi 1", "Film_sit_f_1.avi 2")
    found, _ = read(kind="hmdb51", path=str(tmp_path / "h"), annotations=str(tmp_path / "hl"))
    assert {entry.recording for entry in found.values()} == {"hmdb51/Film"}


@pytest.mark.parametrize(
    ("url", "recording"),
    [
        ("https://www.youtube.com/watch?v=abc&list=1", "youtube/abc"),
        ("http://youtu.be/abc", "youtube/abc"),
        ("https://m.youtube.com/shorts/abc?feature=share", "youtube/abc"),
        ("https://www.youtube-nocookie.com/embed/abc", "youtube/abc"),
        ("no address", None),
        (None, None),
    ],
)
def test_the_recording_at_an_address(url: str | None, recording: str | None) -> None:
    assert recordings.of_url(url) == recording


def test_an_address_with_a_token_is_not_kept() -> None:
    found = recordings.of_url("https://host/a.mp4?token=SECRET")
    assert found is not None and found.startswith("url/") and "SECRET" not in found and "host" not in found
    assert found != recordings.of_url("https://host/b.mp4")


def test_several_sentences_of_a_video_in_a_list_of_msrvtt_are_several_captions(tmp_path: Path) -> None:
    put(tmp_path / "v", "video1.mp4")
    test = write(tmp_path / "t.csv", "video_id,sentence", "video1,a dog", "video1,a cat", "video1,a dog")
    found, rejects = read(kind="msrvtt", path=str(tmp_path / "v"), lists={"test": test})
    assert (found["video1"].captions, rejects) == (("a dog", "a cat"), [])


def test_sentences_of_msrvtt_without_its_videos_are_enough_where_lists_name_these(tmp_path: Path) -> None:
    put(tmp_path / "v", "video1.mp4")
    said = dump(tmp_path / "s.json", {"sentences": [{"video_id": "video1", "caption": "a dog"}]})
    lists = {"test": write(tmp_path / "t.csv", "video_id", "video1")}
    found, _ = read(kind="msrvtt", path=str(tmp_path / "v"), annotations=[said], lists=lists)
    assert (found["video1"].captions, found["video1"].recording) == (("a dog",), None)

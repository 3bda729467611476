#!/usr/bin/env python3
"""Installs parts of NVIDIA's CUDA 13.0 packages (Python package index) into a folder: tools/fetch_wheels.py FOLDER PART...

Of each package only the wanted files are downloaded, by ranges of its archive: cuBLAS alone has 420 MB, of which a build needs two
headers. Each file's SHA-256 is compared with the package's RECORD, whose own is kept here. Standard library only.
"""
import base64, csv, fnmatch, hashlib, io, os, sys, urllib.error, urllib.request, zipfile

HOST = "https://files.pythonhosted.org/packages/"
X86 = "-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"
CUBLAS = ("28/d4/30e630055d8e0f7058cc0d39e562c965d692f4735537d3f02f45d579a280/nvidia_cublas-13.0.2.14-py3-none-manylinux_2_27_x86_64.whl",
          "60e8af9bf33cb71ff4bce1998cc76c04098cd0b11fca055d540e73fae4ff6e9a")

# part: (address, SHA-256 of RECORD, files wanted)
PARTS = {
    "nvcc": ("71/8b/a546c12881fffeba927d810598987df25d74b8b241788c7db8dfc93b0173/nvidia_cuda_nvcc-13.0.88" + X86,
             "2f429d8464ce06dc6125e9c7484ccb36b348e9c8cbdf8e782b4c011f10e7f397", ["bin/*", "include/*"]),
    "nvvm": ("15/b0/ee41e6d1108d959b5097163e7190c2d0f7857dea75606ce358f0275891b4/nvidia_nvvm-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
             "5faab277dc014500098dd1b41d904afadc29c5f94f4e2a62157e26138a645ac2", ["nvvm/*"]),
    "crt": ("05/69/a1ec4d9f0747d85964206feb47bf359f48a2d6af74c0add8abba6efe3dda/nvidia_cuda_crt-13.0.88" + X86,
            "689d1847121911088437dfce899d26daccdb29f0e46d21e04de5ba3a2f1871bb", ["include/*"]),
    "runtime": ("2e/24/d1558f3b68b1d26e706813b1d10aa1d785e4698c425af8db8edc3dced472/nvidia_cuda_runtime-13.0.96" + X86,
                "34c7a65651597fd8a376b049b69bb26db399a9ea443a7a142ccd34f5a10f79c4", ["include/*", "lib/*"]),
    "cccl": ("ab/fb/0384bb2129bed6b1b39f8e44471c615ab5ab29b7e55817538a1d390d8f84/nvidia_cuda_cccl-13.0.85" + X86,
             "7a0a2577268c4080833dbb7d7cde0949261e9b6eadac014a8409be1b885c9725", ["include/*"]),
    "cupti": ("33/6d/737d164b4837a9bbd202f5ae3078975f0525a55730fe871d8ed4e3b952b0/nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
              "f8ae8ddce85f8e319abac90e956bf45a572e31f4ff01af2d634f37aa3d78e3eb", ["include/*", "lib/libcupti.so.13"]),
    "cublas-headers": (*CUBLAS, ["include/*"]),
    "cublaslt": (*CUBLAS, ["lib/libcublasLt.so.13"]),
    "cuobjdump": ("2d/af/ce058647c8819187f3eef60f378fd0132c2b4291c5591c2020599f11669b/nvidia_cuda_cuobjdump-13.2.86" + X86,
                  "0210b5fc8941d6d225ae0c30f88d1e455071ae884c454835e5d699162ccea802", ["bin/*"]),
    "nvdisasm": ("b2/99/754bd821ec8557ae95192c0fc397c1df47be79e983e4458dc16b26310313/nvidia_cuda_nvdisasm-13.2.86" + X86,
                 "a4331b9848af8f6929d28ee6c918b88eb39e42642d97ce3e72fdb1b2a8a940fe", ["bin/*"]),
}


class Remote(io.RawIOBase):
    """A file behind an address, read by ranges."""

    def __init__(self, url):
        self.url, self.at = url, 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
            self.size = int(answer.headers["Content-Length"])

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.at

    def seek(self, offset, whence=0):
        self.at = (0, self.at, self.size)[whence] + offset
        return self.at

    def readinto(self, buffer):
        end = min(self.size, self.at + len(buffer))
        if end <= self.at:
            return 0
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={self.at}-{end - 1}"})
        for attempt in (1, 2, 3):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    if answer.status != 206:
                        raise OSError(f"{self.url}: the server sends no ranges")
                    data = answer.read()
                break
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                if attempt == 3:
                    raise
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


def install(part, folder):
    address, record_hash, wanted = PARTS[part]
    with zipfile.ZipFile(io.BufferedReader(Remote(HOST + address), 4 << 20)) as wheel:
        record = wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/RECORD")))
        if hashlib.sha256(record).hexdigest() != record_hash:
            raise OSError(f"{address}: not the package this was written for")
        hashes = {row[0]: row[1].removeprefix("sha256=") for row in csv.reader(record.decode().splitlines())}
        for entry in wheel.infolist():
            name = entry.filename.removeprefix("nvidia/cu13/")
            if entry.is_dir() or name == entry.filename or not any(fnmatch.fnmatchcase(name, w) for w in wanted):
                continue
            target = os.path.join(folder, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            digest = hashlib.sha256()
            with wheel.open(entry) as source, open(target + ".part", "wb") as out:
                while block := source.read(4 << 20):
                    digest.update(block)
                    out.write(block)
            if base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=") != hashes[entry.filename]:
                raise OSError(f"{name}: damaged while it was downloaded")
            os.chmod(target + ".part", 0o755 if name.startswith(("bin/", "nvvm/bin/")) else 0o644)
            os.replace(target + ".part", target)
    os.makedirs(os.path.join(folder, ".parts"), exist_ok=True)
    open(os.path.join(folder, ".parts", part), "w").close()


def main():
    folder, parts = sys.argv[1], sys.argv[2:]
    try:
        for part in parts:
            print(f"cuda-toolkit: {part}", flush=True)
            install(part, folder)
    except (OSError, zipfile.BadZipFile) as error:
        sys.exit(f"cuda-toolkit: {error}")


main()

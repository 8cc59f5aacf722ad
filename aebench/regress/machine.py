"""Which machine measured: what two times have to share before they can be compared. Never its name in a network."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from aebench.device import cores, processor


def identity() -> dict[str, str]:
    """The processor's model, the cores that may be used, architecture, system, Python, torch and GPUs, as far as known.

    Keys: "processor", "cores", "architecture", "system", "python" (its minor version), and where they are there
    "torch", "gpu" and "driver".
    """
    found = {
        "processor": processor(),
        "cores": str(cores()),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    with suppress(PackageNotFoundError):
        found["torch"] = version("torch")
    return found | gpus()


@cache
def gpus() -> dict[str, str]:
    """`{"gpu": names, "driver": version}` of this machine's NVIDIA GPUs, {} where none answers."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [[word.strip() for word in line.split(",")] for line in lines if line.count(",") == 1]
    if not rows:
        return {}
    names = Counter(name for name, _ in rows)
    return {"gpu": ", ".join(f"{n} x {name}" if n > 1 else name for name, n in names.items()), "driver": rows[0][1]}


def key(identity: Mapping[str, str]) -> str:
    """A short slug of an identity for names of files: `amd-epyc-2-cores-linux-3f2a91`; any change of it gives another.

    A processor's marks of trade, clock and "CPU" or "Processor" are left out of the words, not of the six digits.
    """
    marks = r"\((R|TM|C)\)|@.*|\b(CPU|Processor|\d+-Core)\b"
    words = re.sub(marks, " ", identity.get("processor", ""), flags=re.IGNORECASE)
    cores = f"{identity.get('cores', '')} cores"
    plain = "-".join([words, identity.get("gpu", ""), cores, identity.get("system", "")]).lower()
    digest = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()[:6]
    return "-".join([*re.findall(r"[a-z0-9]+", plain), digest])

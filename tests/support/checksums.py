"""Checksums of stand-ins, as `vaelab.data.download.Published` writes them."""

import hashlib


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"

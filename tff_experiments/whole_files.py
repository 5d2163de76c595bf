"""Files that are there complete or not at all, whenever the program or the machine ends."""

import os
import pathlib


def write(
    path: pathlib.Path, content: str | bytes, *, sync: bool = True, mode: int = 0o666
) -> None:
    """Writes a file under another name and renames it.

    Args:
        path: The file; one that is there is replaced.
        content: Text is written as UTF-8, its line ends as they are.
        sync: Whether it survives a power cut.
        mode: Who may read it, before the umask.

    Raises:
        OSError: It can't be written; a file that was there stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    partial.rename(path)

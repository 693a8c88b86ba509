"""Files and folders that bodies write: made, replaced whole, removed.

A new version is written beside its target and renamed over it. So a reader finds the
old version or the new one whole, whenever the writer is killed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

#: The longest part of a target's name, in bytes, in the name of the file beside it.
_NAME_LIMIT = 100
#: How many times a folder is tried to be made if its parent disappears each time.
_TRIES = 100


def digest(*texts: str) -> str:
    """Return 32 hex digits that differ for different texts."""
    import hashlib  # noqa: PLC0415 - 2 ms, only for who runs tasks

    data = "\0".join(texts).encode(errors="surrogatepass")
    return hashlib.sha256(data).hexdigest()[:32]


def adopt(path: Path, store: Path) -> None:
    """Give a file or folder beside a store the owner and mode of the store's file.

    So a run as root, or by one of a group, leaves nothing that the others cannot use.
    """
    like = store.stat()
    mode = stat.S_IMODE(like.st_mode)
    if path.is_dir():
        mode |= (mode & 0o444) >> 2  # Who may read a folder may enter it.
    _give(path, like)
    path.chmod(mode)


def give_of_root(path: Path) -> None:
    """Give what root has just made to the owner of the folder above it.

    So one run as root leaves nothing in a user's folder that the user cannot use.
    """
    if os.geteuid() == 0:
        _give(path, path.parent.stat())


def _give(path: Path, like: os.stat_result) -> None:
    """Give a path to the owner of another, if this process may."""
    found = path.stat()
    if (found.st_uid, found.st_gid) != (like.st_uid, like.st_gid):
        with contextlib.suppress(PermissionError):
            os.chown(path, like.st_uid, like.st_gid)


def make_folder(folder: Path) -> None:
    """Make a folder and the missing folders above it, for this user alone.

    If root makes it, it is given to the owner of the folder above; a folder `STORE.work`
    beside a store's file gets the owner and mode of the file.
    """
    left = _TRIES
    while True:
        try:
            folder.mkdir(mode=0o700)
            store = folder.with_suffix("")
            if folder.suffix == ".work" and store.is_file():
                adopt(folder, store)
            else:
                give_of_root(folder)
        except FileNotFoundError:
            # Another process may remove an empty parent in between, so try again. The
            # number of tries ends this in places such as /proc, where no folder can be
            # made.
            left -= 1
            if not left:
                raise
            make_folder(folder.parent)
        except FileExistsError:
            if not folder.is_dir():
                raise
            return
        else:
            return


def make_task_folder(folder: Path) -> Path:
    """Make the folder of a task as `make_folder` does, and return it.

    Raises:
        OSError: it cannot be made; what is to be done stands in `strerror`, which is shown
            in the one line of the failure.
    """
    try:
        make_folder(folder)
    except PermissionError as error:
        advice = "give the folders to this user, such as with sudo chown -R"
        raise PermissionError(
            error.errno, f"{error.strerror}; {advice}", error.filename
        ) from None
    except (FileExistsError, NotADirectoryError) as error:
        above = (each for each in (folder, *folder.parents) if os.path.lexists(each))
        advice = "expected a folder, found a file; move it away"
        raise NotADirectoryError(error.errno, advice, str(next(above))) from None
    return folder


def remove(path: Path) -> None:
    """Remove a file, a folder with its contents, or a link without its target."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    import shutil  # noqa: PLC0415 - 5 ms, only where there is a folder to remove

    try:
        shutil.rmtree(path)
    except OSError:
        # An unpacked archive may contain folders that this user owns but cannot write.
        _open_up(path)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)


def _open_up(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
    for place, names, _ in os.walk(folder):
        for name in names:
            inner = Path(place, name)
            if not inner.is_symlink():
                with contextlib.suppress(OSError):
                    inner.chmod(0o700)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], key: str) -> Iterator[Path]:
    """Yield a path to write to, of the same name; at the end move it to `path`.

    The path lies in a hidden folder beside `path`, which is named after `key`: an attempt
    removes the leftovers of an earlier attempt that was killed. Each attempt has a folder
    of its own within: if an abandoned attempt goes on, its folder is gone, and nothing of
    it reaches `path`.

    Args:
        path: the target, a file or a folder; links are followed.
        key: names the writer; all attempts of a task have the same.

    Raises:
        FileExistsError: the target is a folder that is not empty, or no file.
        FileNotFoundError: the block wrote nothing.
    """
    target = Path(os.path.realpath(path))
    _check(target)
    above = _make_parents(target.parent)
    head = target.name.encode(errors="surrogatepass")[:_NAME_LIMIT]
    name = f".{head.decode(errors='ignore')}.{digest(key, target.name)[:16]}"
    beside, whole = target.with_name(f"{name}.part"), target.with_name(f"{name}.whole")
    remove(beside)
    remove(whole)
    own = beside / os.urandom(4).hex()
    own.mkdir(mode=0o700, parents=True)
    try:
        yield own / target.name
        _finish(own / target.name, target)
        (own / target.name).rename(whole)
    except BaseException:
        _clear(own)
        raise
    _clear(own)
    # The last step: once the target exists, no leftovers lie beside it.
    whole.replace(target)
    for folder in above:
        sync(folder)


def _clear(own: Path) -> None:
    with contextlib.suppress(OSError):
        remove(own)
        own.parent.rmdir()


def _check(target: Path) -> None:
    mode = _mode(target)
    if stat.S_ISDIR(mode):
        with os.scandir(target) as entries:
            found = next(entries, None)
        if found is not None:
            raise FileExistsError(
                f"the output {target}: expected no folder there, or an empty one, found "
                f"one with {found.name!r} in it; remove it, or write elsewhere"
            )
    elif mode and not stat.S_ISREG(mode):
        raise FileExistsError(
            f"the output {target}: expected a file, a folder or nothing there, found a "
            "device, a pipe or a socket; write to it without task.output"
        )


def _mode(path: Path) -> int:
    """Return the type and mode of a file or folder; 0 if none exists."""
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return 0


def _make_parents(folder: Path) -> list[Path]:
    """Make a missing folder; return the folders that have new entries."""
    above = [folder]
    while not above[-1].exists():
        above.append(above[-1].parent)
    folder.mkdir(parents=True, exist_ok=True)
    return above


def _finish(part: Path, target: Path) -> None:
    """Check that a part may replace the target, and make the part durable."""
    written, replaced = _mode(part), _mode(target)
    if not (stat.S_ISREG(written) or stat.S_ISDIR(written)):
        found = "something else" if written else "nothing"
        raise FileNotFoundError(
            f"the output {target}: expected the block to write a file or a folder to the "
            f"path that task.output gives, found {found} there; write to `part` in "
            "`with task.output(...) as part`"
        )
    if replaced and stat.S_ISDIR(written) != stat.S_ISDIR(replaced):
        kinds = ("a file", "a folder")
        is_folder = stat.S_ISDIR(replaced)
        raise FileExistsError(
            f"the output {target}: expected the block to write {kinds[is_folder]}, as "
            f"one is there, found {kinds[not is_folder]}; remove what is there, or "
            "write elsewhere"
        )
    if stat.S_ISREG(replaced):
        part.chmod(stat.S_IMODE(replaced))
    _sync_all(part)


def _sync_all(path: Path) -> None:
    for place, _, names in os.walk(path):
        for name in names:
            file = Path(place, name)
            if stat.S_ISREG(_mode(file)):
                sync(file)
        sync(Path(place))
    if not path.is_dir():
        sync(path)


def sync(path: Path) -> None:
    """Make a file, or the entries of a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

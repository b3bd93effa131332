"""C code compiled at its first use, kept per content and processor."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from organtwin.errors import SetupError
from organtwin.solve import options

#: -ffast-math and vector instructions make loops over cells tenfold faster than plain C. The last
#: few cells of a loop are not worth vectors of their own: they take half of the compiler's time.
FAST = (
    "-O3", "-march=native", "-ffast-math", "-fopenmp-simd", "-fPIC", "-std=c11",
    "--param=vect-epilogues-nomask=0",
)  # fmt: skip
#: The same without -ffast-math, for code that relies on infinities.
STRICT = tuple(flag for flag in FAST if flag != "-ffast-math")


def compiled(
    content: str,
    source: Callable[[], str] | None = None,
    *,
    flags: Sequence[str] = FAST,
    kind: str = "native",
) -> Path:
    """Path of the shared library of a C source, built if it is not in the cache.

    Args:
        content: Text that tells this code from other code: the code itself, or what it is
            generated from and by.
        source: Generates the code; ``content`` if omitted.
        flags: Of the compiler.
        kind: Folder in the cache.

    Raises:
        SetupError: there is no working C compiler.
    """
    told = " ".join((content, *flags, options.processor()))
    key = hashlib.sha256(told.encode()).hexdigest()[:20]
    path = options.cache_directory() / kind / f"{key}.so"
    if path.exists() and options.is_whole(path):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        text = Path(folder) / "source.c"
        text.write_text(source() if source else content, encoding="utf-8")
        built = Path(folder) / "library.so"
        _compile(text, built, flags)
        # Renaming is atomic: another process sees no library or the whole of it.
        built.replace(path)
    return path


def _compile(source: Path, target: Path, flags: Sequence[str]) -> None:
    # In two steps: a linker that is told of -ffast-math adds code that, once loaded, flushes
    # subnormal numbers to zero in the whole process.
    compiler = (os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or "gcc").split()
    built = source.with_suffix(".o")
    failure = _failure([*compiler, *flags, "-c", str(source), "-o", str(built)])
    if not failure:
        # Without glibc's vector maths library loops still work, scalar where they call it.
        for libraries in (("-lmvec", "-lm"), ("-lm",)):
            failure = _failure([*compiler, "-shared", str(built), "-o", str(target), *libraries])
            if not failure:
                return
    raise SetupError(
        "native code",
        f"the C compiler `{' '.join(compiler)}` does not work ({failure}).",
        "Debian/Ubuntu: apt-get install gcc libc6-dev. conda: conda install c-compiler.",
    )


def _failure(command: Sequence[str]) -> str:
    """Last word of a command that fails, else nothing."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    if result.returncode == 0:
        return ""
    return result.stderr.strip().splitlines()[-1] if result.stderr.strip() else "no message"

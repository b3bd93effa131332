#!/usr/bin/env bash
# Make .venv with the locked packages and organtwin itself. Does nothing when it is up to date.
# Stops at once, with the line that helps, when the system lacks something that pip can't bring.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${VENV:-.venv}
uv_version=0.13.8

say() { printf '%s\n' "$*" >&2; }

# A Python counts when it runs (a version manager's shim may not), has the right version and
# can make virtual environments.
usable() {
    "$1" - >/dev/null 2>&1 <<'PYTHON'
import ensurepip, sys, venv
sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))
PYTHON
}

candidates() {
    local name root
    [ -z "${PYTHON:-}" ] || printf '%s\n' "$PYTHON"
    for name in python3.12 python3.13 python3.14 python3 python; do
        type -aP "$name" || true
    done
    for root in "$(pyenv root 2>/dev/null || true)" "${PYENV_ROOT:-}" "$HOME/.pyenv"; do
        [ -z "$root" ] || ls -d "$root"/versions/3.1[234]*/bin/python3 2>/dev/null || true
    done
    for root in "$(conda info --base 2>/dev/null || true)" "${CONDA_PREFIX:-}" "$HOME"/{mini,ana}conda3 "$HOME/miniforge3"; do
        [ -z "$root" ] || ls -d "$root"/bin/python3 "$root"/envs/*/bin/python3 2>/dev/null || true
    done
    ls -d "$HOME"/.local/share/uv/python/cpython-3.1[234]*/bin/python3 2>/dev/null || true
}

find_python() {
    local candidate
    while read -r candidate; do
        if usable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done < <(candidates)
    say "organtwin needs Python 3.12, 3.13 or 3.14 with its venv module; none that runs was found."
    say "Install one with one of:"
    say "  Debian 13, Ubuntu 24.04:  sudo apt-get install -y python3 python3-venv python3-dev"
    say "  conda:                    conda create -n organtwin -c conda-forge python=3.12 && conda activate organtwin"
    say "  pyenv:                    pyenv install 3.12"
    say "Or name it: make setup PYTHON=/path/to/python3.12"
    return 1
}

stamp_of() { # what the environment depends on
    { cat requirements.lock pyproject.toml scripts/setup.sh; printf '%s' "$PWD"; } | sha256sum | cut -d' ' -f1
}

install() {
    local python
    python=$(find_python)
    say "Setting up $venv with $python ($("$python" --version))"
    "$python" organtwin/prerequisites.py
    "$python" -m venv --clear "$venv"
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check)
    # uv installs in seconds; where it can't be had, pip takes its minute.
    if "${pip[@]}" install --quiet "uv==$uv_version" 2>/dev/null \
        && "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --requirement requirements.lock; then
        :
    else
        "${pip[@]}" install --quiet --requirement requirements.lock
    fi
    "${pip[@]}" install --quiet --no-deps --no-build-isolation --editable .
}

if [ "$(cat "$venv/.stamp" 2>/dev/null || true)" != "$(stamp_of)" ]; then
    install
    "$venv/bin/organtwin" doctor --quick
    stamp_of >"$venv/.stamp"
fi

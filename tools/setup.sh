#!/usr/bin/env bash
# All the set-up there is, on a bare Debian or Ubuntu with Python 3.11 to 3.13. Run it again at will.
#   bash tools/setup.sh run           install, then show the whole method on synthetic streets (rangeseg demo)
#   bash tools/setup.sh run DATA      install, then train, evaluate, predict and draw on the scans of DATA
#   bash tools/setup.sh test          install, then lint, check the types, build the documentation, and test
# DATA is the folder that holds SemanticKITTI's sequences/. These may be set beforehand:
#   RANGESEG_VENV          folder of the virtual environment, instead of .venv
#   RANGESEG_TORCH_INDEX   package index to take torch from, e.g. the one of its CPU builds
#   RANGESEG_DATA          folder of the sample data, for the tests
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

usage='usage: bash tools/setup.sh run [DATA] | test'
job=${1:-}
case $job in run | test) ;; *) fail "$usage" ;; esac

here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$here" "$1" ;; esac; }
venv=$PWD/.venv
[ -z "${RANGESEG_VENV:-}" ] || venv=$(absolute "$RANGESEG_VENV")
samples=$PWD/../shared/data
[ -z "${RANGESEG_DATA:-}" ] || samples=$(absolute "$RANGESEG_DATA")
data=
[ -z "${2:-}" ] || data=$(absolute "$2")
[ -z "$data" ] || [ -d "$data/sequences" ] ||
    fail "no folder $data/sequences. Give the folder that holds SemanticKITTI's sequences/: bash tools/setup.sh run DATA"

# Debian packages are installed by root or by passwordless sudo, or else only named.
apt_install() {
    command -v apt-get >/dev/null || return 1
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    say "installing by apt-get: $*"
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3 python; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

make_venv() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return
    local python package
    python=$(find_python) || { apt_install python3 && python=$(find_python); } ||
        fail "Python 3.11, 3.12 or 3.13 is needed and none is on PATH. Install one: apt-get install python3.11 python3.11-venv"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        apt_install "$package" || fail "$python cannot make virtual environments. As root: apt-get install $package"
    fi
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
}

# Without an NVIDIA GPU the CPU build of torch does, a tenth of the size; where pip has an index of its own, that decides.
install_torch() {
    if [ -n "${RANGESEG_TORCH_INDEX:-}" ]; then
        "$@" --index-url "$RANGESEG_TORCH_INDEX" torch
    elif [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null && ! [ -e /proc/driver/nvidia/version ] &&
        ! "$venv/bin/python" -c 'import torch' 2>/dev/null && ! "$1" -m pip config list | grep -Eq 'index-url|find-links'; then
        say "no NVIDIA GPU: taking the CPU build of torch"
        "$@" --retries 1 --timeout 15 --index-url https://download.pytorch.org/whl/cpu torch ||
            say "it is not to be had; taking the one that pip finds"
    fi
}

install() { # the extras
    local pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt)
    install_torch "${pip[@]}"
    say "installing rangeseg[$1] (minutes and about 2.5 GB the first time)"
    "${pip[@]}" -e ".[$1]"
}

# Open3D's wheel takes these from the system. Without them everything works but its window.
install_viewer_libraries() {
    [ "$(uname -s)" = Linux ] || return 0
    local found='import ctypes; [ctypes.CDLL(n) for n in ("libEGL.so.1", "libGL.so.1", "libusb-1.0.so.0")]'
    "$venv/bin/python" -c "$found" 2>/dev/null && return
    apt_install libegl1 libgl1 libusb-1.0-0 ||
        say "Open3D's window will not open until these are there. As root: apt-get install libegl1 libgl1 libusb-1.0-0"
}

# The tests look at the window on a display without a screen, and at the report in a browser; where these are not to be had they skip.
install_display_and_browser() {
    local missing=() name
    for name in Xvfb xdotool import chromium; do command -v "$name" >/dev/null || missing+=("$name"); done
    [ -n "$(find /usr/share/vulkan/icd.d -name '*.json' 2>/dev/null)" ] || missing+=(vulkan)
    [ "${#missing[@]}" != 0 ] || return 0
    apt_install xvfb xdotool imagemagick libvulkan1 mesa-vulkan-drivers chromium ||
        say "The tests of the window or the report skip, without: ${missing[*]}"
}

run() {
    install view
    install_viewer_libraries
    local rangeseg=$venv/bin/rangeseg out=runs/quick resume=() scan
    if [ -z "$data" ]; then
        "$rangeseg" demo
        return
    fi
    scan=$(find -L "$data/sequences/08/velodyne" -name '*.bin' | sort | sed -n 1p)
    [ ! -e "$out/last.pt" ] || resume=(--resume)
    "$rangeseg" train mini_kitti/quick "data.root=$data" "runtime.out=$out" "${resume[@]}"
    "$rangeseg" evaluate "$out" "data.root=$data" --json "$out/val.json"
    "$rangeseg" predict "$out" "data.root=$data" --split val --out "$out/predictions" --overwrite
    "$rangeseg" show "$scan" --run "$out" --png "$out/first.png"
}

check() {
    install view,export,rerun,int8,ros2,pandaset,las,bags,waymo,velodyne,docs,test,browser,lint
    install_viewer_libraries
    install_display_and_browser
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps semantic-kitti-api==0.1 ||
        say "semantic-kitti-api is not to be had; the comparison with it is skipped"
    "$venv/bin/ruff" check .
    "$venv/bin/ruff" format --check .
    "$venv/bin/mypy"
    "$venv/bin/python" docs/build_site.py
    OMP_NUM_THREADS=1 RANGESEG_DATA=$samples "$venv/bin/python" -m pytest -n 2
}

make_venv
case $job in run) run ;; test) check ;; esac

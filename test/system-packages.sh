#!/usr/bin/env bash
# What the tests need from outside npm: FFmpeg, and a browser of Chromium's kind. `npm test` runs this first; it is done at once
# where both are here, installs what is missing on Debian and Ubuntu with root or passwordless sudo, and otherwise says what to
# do. Without FFmpeg nothing can be tested; without a browser everything but the pages.
set -euo pipefail

has_browser() {
  for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null && return
  done
  return 1
}
has_ffmpeg() { command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null; }

install_one() {
  command -v apt-get >/dev/null || return 1
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    sudo=(sudo -n)
    "${sudo[@]}" true 2>/dev/null || return 1
  fi
  echo "installing what the tests need: $1" >&2
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get update -qq && "${sudo[@]}" apt-get install -y -qq --no-install-recommends "$1"
}

if ! has_ffmpeg && ! install_one ffmpeg; then
  echo "The tests need FFmpeg, and it could not be installed. Install it as root (Debian: apt-get install ffmpeg) and start again." >&2
  exit 1
fi
# Ubuntu has Chromium as a snap only.
if ! has_browser && ! install_one chromium && ! has_browser; then
  echo "Chromium could not be installed: the pages are not tried. Install it, or Chrome, or name another one with CHROMIUM=/path/of/it." >&2
fi

#!/usr/bin/env bash
# What the tests need from outside npm: FFmpeg and Chromium. `npm test` runs this first; it is done at once where both are here,
# installs what is missing on Debian and Ubuntu with root or passwordless sudo, and otherwise says what to do.
set -euo pipefail

missing=()
command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || missing+=(ffmpeg)
command -v "${CHROMIUM:-chromium}" >/dev/null || missing+=(chromium)
[ ${#missing[@]} -gt 0 ] || exit 0

by_hand() {
  echo "The tests need ${missing[*]}$1. Install it (Debian: apt-get install ${missing[*]}) and start again; a browser in another place is named with CHROMIUM=/path/of/it." >&2
  exit 1
}
command -v apt-get >/dev/null || by_hand ""
sudo=()
if [ "$(id -u)" != 0 ]; then
  sudo=(sudo -n)
  "${sudo[@]}" true 2>/dev/null || by_hand ", and installing needs root"
fi
echo "installing what the tests need: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq && "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" ||
  by_hand ", and apt-get could not install it"

#!/bin/sh
# A base image from Debian's own packages, where no image can be pulled: docker/base.sh [NAME]
# Needs debootstrap, a running Docker engine, and root.
set -eu
name=${1:-equity-base:bookworm}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,libgomp1 bookworm "$root" >"$root.log" 2>&1 ||
  { cat "$root.log" >&2; exit 1; }
rm -rf "$root.log" "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar -C "$root" -c . | docker import --change 'USER 65534:65534' - "$name"

# Sourced by the scripts beside it: where things are, and how they speak.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
: "${PYTHON:=python3}"
: "${PENSTOCK_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/penstock}"
: "${CARGO_TARGET_DIR:=$PENSTOCK_CACHE/target}"
export PYTHON PENSTOCK_CACHE CARGO_TARGET_DIR
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}" PIP_DISABLE_PIP_VERSION_CHECK=1
# rustup puts cargo here; a fresh shell may not have it on PATH yet.
[ -d "$HOME/.cargo/bin" ] && PATH="$HOME/.cargo/bin:$PATH"
bin="$root/.venv/bin"

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
fail() { printf 'error: %s\n' "$1" >&2; [ -n "${2:-}" ] && printf 'hint:  %s\n' "$2" >&2; exit 1; }
# step NAME COMMAND…: runs it, says how long it took, and remembers a failure without stopping the others.
failed=()
step() {
    local name=$1 began=$SECONDS
    shift
    say "$name"
    if "$@"; then printf '   ok, %ss\n' $((SECONDS - began)); else failed+=("$name"); printf '   FAILED: %s\n' "$name"; fi
}
finish() {
    [ ${#failed[@]} -eq 0 ] && return 0
    printf '\nfailed: %s\n' "$(IFS=,; printf '%s' "${failed[*]}")" >&2
    exit 1
}

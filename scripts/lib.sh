# Shared by the scripts beside this file; sourced with bash.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

need_swift() {
    if ! command -v swift >/dev/null; then
        say "There is no Swift toolchain in PATH. Gatepost wants Swift 6.2 or later: https://swift.org/install"
        exit 69
    fi
}

# need_packages KIND...: installs what scripts/packages lists for these and what is not there.
need_packages() {
    local missing=() kind name
    while read -r kind name _; do
        [[ " $* " == *" $kind "* ]] || continue
        [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] ||
            missing+=("$name")
    done < <(grep -v '^#' "$root/scripts/packages")
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing ${missing[*]}"
    local run=()
    if [[ $EUID -ne 0 ]]; then
        if ! command -v sudo >/dev/null; then
            say "neither root nor sudo; as root: apt-get install ${missing[*]}"
            exit 69
        fi
        run=(sudo)
    fi
    local -a apt=(env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes)
    if ! "${run[@]}" "${apt[@]}" install --no-install-recommends "${missing[@]}" >&2; then
        "${run[@]}" "${apt[@]}" update >&2
        "${run[@]}" "${apt[@]}" install --no-install-recommends "${missing[@]}" >&2
    fi
}

# need_unpacked: unpacks what scripts/packages lists as `unpack` and what is not there, into .build/peers/NAME.
# No script of the package runs, and its program has no more rights than who starts it.
need_unpacked() {
    local kind name folder run=()
    [[ $EUID -eq 0 ]] || run=(sudo)
    while read -r kind name _; do
        [[ $kind == unpack && ! -d $root/.build/peers/$name ]] || continue
        say "unpacking $name"
        folder=$(mktemp -d)
        (
            cd "$folder" || exit
            apt-get --quiet download "$name" >&2 ||
                { "${run[@]}" apt-get --quiet update >&2 && apt-get --quiet download "$name" >&2; } || exit
            dpkg-deb -x "$name"_*.deb unpacked
        ) || return
        chmod -R u=rwX,go=rX "$folder/unpacked"
        mkdir -p "$root/.build/peers"
        mv "$folder/unpacked" "$root/.build/peers/$name"
        rm -rf "$folder"
    done < <(grep -v '^#' "$root/scripts/packages")
}

#!/usr/bin/env bash
# Installs missing dependencies to build rungs and to run its tests. If nothing is missing, it needs neither root nor the
# network. It installs on Debian and Ubuntu only. On other systems it prints what to install.
set -euo pipefail
cd "$(dirname "$0")/.."

# On Debian, a user's PATH does not contain the folders of daemons.
export PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin"

has() { command -v "$1" >/dev/null 2>&1; }

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib*/libclang*.so*' >/dev/null ||
        compgen -G '/usr/lib/*-linux-gnu/libclang*.so*' >/dev/null ||
        compgen -G '/opt/homebrew/opt/llvm/lib/libclang.dylib' >/dev/null ||
        compgen -G '/Library/Developer/CommandLineTools/usr/lib/libclang.dylib' >/dev/null
}

has_browser() {
    has chromium || has chromium-browser || has google-chrome-stable || has google-chrome ||
        [ -x "/Applications/Chromium.app/Contents/MacOS/Chromium" ] ||
        [ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ]
}

# Collects the Debian package of each missing dependency in $missing.
missing=()
need() { has "$1" || missing+=("$2"); }
need cmake cmake
need clang clang
need make make
need gcc gcc
need g++ g++
need git git
need pkg-config pkg-config
need openssl openssl
need certutil libnss3-tools
need nginx nginx
need squid squid
need danted dante-server
need microsocks microsocks
need Xvfb xvfb
need ps procps
need ip iproute2
need unshare util-linux
has python3 && python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
has_libclang || missing+=(libclang-dev)
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/ssl/cert.pem ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] ||
    missing+=(ca-certificates)
has_browser || missing+=(chromium chromium-sandbox)

# Optional, because it is not packaged everywhere. Without it, the nginx brotli test is skipped.
optional=()
compgen -G '/usr/lib*/nginx/modules/ngx_http_brotli_filter_module.so' >/dev/null ||
    optional+=(libnginx-mod-http-brotli-filter)

distribution=other
if [ -r /etc/os-release ] && has apt-get; then
    case " $(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}") " in
    *" ubuntu "*) distribution=ubuntu ;;
    *" debian "*) distribution=debian ;;
    esac
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif ! has sudo; then
        echo "deps: not root and no sudo; as root, run: apt-get install ${missing[*]}" >&2
        exit 1
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@" # not interactive: fail instead of waiting for a password
    fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq "$@" </dev/null
}

# The tests start the servers themselves, but the packages enable them as system services.
stop_service() {
    if has systemctl && [ -d /run/systemd/system ]; then
        as_root systemctl disable --now "$1" >/dev/null 2>&1 || true
    elif has service; then
        as_root service "$1" stop >/dev/null 2>&1 || true
    fi
}

without() { # prints its arguments without the first one and without those equal to it
    local unwanted=$1 word
    shift
    for word in "$@"; do [ "$word" = "$unwanted" ] || echo "$word"; done
}

install_with_apt() {
    local package
    echo "deps: installing ${missing[*]}"
    apt update
    if [ "$distribution" = ubuntu ] && ! has_browser; then
        # Ubuntu's package only installs the snap, and does nothing without a running snapd.
        mapfile -t missing < <(without chromium "${missing[@]}")
        mapfile -t missing < <(without chromium-sandbox "${missing[@]}")
        if has snap && as_root snap install chromium; then :; else
            echo "deps: could not install Chromium, which Ubuntu offers only as a snap. Install Chrome instead:
    curl -fLo chrome.deb https://dl.google.com/linux/direct/google-chrome-stable_current_amd64.deb
    sudo apt-get install ./chrome.deb" >&2
            browser_failed=1
        fi
    fi
    for package in "${optional[@]}"; do
        if apt-cache show "$package" >/dev/null 2>&1; then missing+=("$package"); fi
    done
    [ ${#missing[@]} -eq 0 ] || apt install -y --no-install-recommends "${missing[@]}"
    for package in "${missing[@]}"; do
        case $package in
        nginx | squid) stop_service "$package" ;;
        dante-server) stop_service danted ;;
        esac
    done
}

say_what_to_install() {
    echo "deps: missing: ${missing[*]} (Debian package names). This script installs on Debian and Ubuntu only. For example:" >&2
    if [ "$(uname -s)" = Darwin ]; then
        echo "    brew install cmake llvm nginx squid openssl nss pkgconf && brew install --cask chromium" >&2
    elif has dnf; then
        echo "    sudo dnf install cmake clang clang-devel gcc gcc-c++ make git pkgconf openssl nss-tools ca-certificates procps-ng \\
        nginx nginx-mod-brotli squid xorg-x11-server-Xvfb chromium" >&2
    elif has pacman; then
        echo "    sudo pacman -S cmake clang gcc make git pkgconf openssl nss ca-certificates procps-ng nginx squid xorg-server-xvfb chromium" >&2
    else
        echo "    cmake, clang and libclang, a C and C++ compiler, make, git, pkg-config, openssl, certutil (NSS), CA certificates, ps," >&2
        echo "    nginx (with the brotli filter if there is one), squid, dante's server as danted, microsocks, Xvfb, and Chromium" >&2
    fi
    echo "    few package managers have dante's server (danted) and microsocks: build them if yours does not" >&2
    exit 1
}

browser_failed=0
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$distribution" = other ]; then say_what_to_install; fi
    install_with_apt
elif [ ${#optional[@]} -gt 0 ] && [ "$distribution" != other ] && { [ "$(id -u)" -eq 0 ] || has sudo; }; then
    # Only optional packages are missing: try them with the current package lists. A failure is not an error.
    for package in "${optional[@]}"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            apt install -y --no-install-recommends "$package" || echo "deps: could not install $package; its test will be skipped" >&2
        fi
    done
fi

# Rust is checked, not installed, since there are several ways to install it. Cargo.toml has the required version.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
how="install it with rustup: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
if ! has cargo || ! has rustc; then
    echo "deps: Rust is not installed; version $wanted or newer is required; $how" >&2
    exit 1
fi
found=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n1)" != "$wanted" ]; then
    echo "deps: Rust $found is too old; version $wanted or newer is required; run rustup update, or $how" >&2
    exit 1
fi
exit "$browser_failed"

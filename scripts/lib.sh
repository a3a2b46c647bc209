# Sourced by the scripts beside it: what they share. Bash, `set -euo pipefail` in the caller.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
# What is downloaded or built once and serves every clone: jars, tools, PostgreSQL binaries.
# shellcheck disable=SC2034
cache=${KCOPY_CACHE:-${XDG_CACHE_HOME:-${HOME:-$root/target}/.cache}/kcopy}

if [ -t 2 ]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'; else bold='' dim='' red='' green='' plain=''; fi
export bold dim red green plain

say() { printf '%s\n' "${bold}== $*${plain}" >&2; }
note() { printf '%s\n' "${dim}   $*${plain}" >&2; }
die() {
  printf '%s\n' "${red}${0##*/}: $*${plain}" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

# What the caller's environment says of brokers and servers is about others than those that are started here.
forget_others() {
  local name
  for name in "${!PG@}" "${!KCOPY_@}"; do
    case $name in
      KCOPY_BIN | KCOPY_CACHE | KCOPY_POSTGRES_BIN | KCOPY_KAFKA* | KCOPY_PYTHON | KCOPY_FOREIGN_KCAT) ;;
      KCOPY_CHAOS_* | KCOPY_FUZZ | KCOPY_SEED | KCOPY_MUTATIONS | KCOPY_BENCH_RECORDS | KCOPY_SKIPPED) ;;
      KCOPY_DEMO_PACE | KCOPY_LOG_LINES) ;;
      *) unset "$name" ;;
    esac
  done
}

# Debian packages, where that is possible: `apt_install PACKAGE...` fails quietly elsewhere.
apt_install() {
  is_root && have apt-get || return 1
  if [ -z "${apt_updated:-}" ]; then
    apt-get update -qq >&2 </dev/null || return 1
    apt_updated=1
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

# What a Maven project with these dependencies runs with, once: `maven_jars FOLDER WHAT DEPENDENCIES` makes FOLDER/lib, or
# fails.
maven_jars() {
  local folder=$1 what=$2 dependencies=$3 work=$1.part.$$
  [ ! -d "$folder" ] || return 0
  have mvn || return 1
  mkdir -p "$work"
  note "fetching the jars of $what"
  cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>$dependencies</dependencies>
</project>
POM
  (cd "$work" && mvn -q -B -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=lib -DincludeScope=runtime >&2 </dev/null) \
    || { rm -rf "$work"; return 1; }
  # Another run may have been faster.
  mv -T "$work" "$folder" 2>/dev/null || rm -rf "$work"
}

# `maven_dependency GROUP:ARTIFACT:VERSION [GROUP:ARTIFACT...]`: one of them, without those behind it.
maven_dependency() {
  local group artifact version excluded
  IFS=: read -r group artifact version <<<"$1"
  shift
  printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version><exclusions>' "$group" "$artifact" "$version"
  for excluded in "$@"; do
    printf '<exclusion><groupId>%s</groupId><artifactId>%s</artifactId></exclusion>' "${excluded%:*}" "${excluded#*:}"
  done
  printf '</exclusions></dependency>\n'
}

# The repository that Maven takes artifacts from: the mirror that its settings name for all or for the central one, else
# that itself.
maven_repository() {
  local file url
  for file in "${HOME:-/nonexistent}/.m2/settings.xml" "${MAVEN_HOME:-/usr/share/maven}/conf/settings.xml" /etc/maven/settings.xml; do
    [ -r "$file" ] || continue
    # shellcheck disable=SC2016
    url=$(tr '\n\t' '  ' <"$file" | awk '
      function element(text, name) {
        if (!match(text, "<" name ">[^<]*")) return ""
        text = substr(text, RSTART + length(name) + 2, RLENGTH - length(name) - 2)
        gsub(/^ +| +$/, "", text)
        return text
      }
      {
        text = $0
        while ((from = index(text, "<!--")) && (to = index(substr(text, from), "-->")))
          text = substr(text, 1, from - 1) substr(text, from + to + 2)
        count = split(text, mirrors, /<mirror>/)
        for (i = 2; i <= count; i++) {
          sub(/<\/mirror>.*/, "", mirrors[i])
          of = "," element(mirrors[i], "mirrorOf") ","
          gsub(/ /, "", of)
          if (of ~ /,(\*|external:\*|central),/ && of !~ /,!central,/) { print element(mirrors[i], "url"); exit }
        }
      }')
    if [ -n "$url" ]; then
      echo "${url%/}"
      return
    fi
  done
  echo https://repo1.maven.org/maven2
}

# `download URL FILE`, quietly.
download() {
  if have curl; then
    curl -fsSL --retry 2 --connect-timeout 20 -o "$2" "$1" >&2
  elif have wget; then
    wget -q --tries 3 --timeout 20 -O "$2" "$1" >&2
  else
    note "there is no curl or wget to download with"
    return 1
  fi
}

# `maven_jar GROUP:ARTIFACT:VERSION FILE` fetches a jar without Maven, and checks it as Maven does.
maven_jar() {
  local group artifact version url
  IFS=: read -r group artifact version <<<"$1"
  url=$(maven_repository)/${group//.//}/$artifact/$version/$artifact-$version.jar
  download "$url" "$2" && download "$url.sha1" "$2.sha1" || return 1
  [ "$(sha1sum <"$2" | cut -c 1-40)" = "$(cut -c 1-40 "$2.sha1")" ] || { note "$1 has another checksum than its repository says"; return 1; }
  rm -f "$2.sha1"
}

# `unzip_here FILE` with what there is.
unzip_here() {
  if have unzip; then
    unzip -q -o "$1" >&2
  elif have bsdtar; then
    bsdtar -xf "$1" >&2
  elif have python3; then
    python3 -m zipfile -e "$1" . >&2
  elif have jar; then
    jar xf "$1" >&2
  elif have busybox; then
    busybox unzip -q -o "$1" >&2
  else
    note "there is no unzip, bsdtar, python3, jar or busybox to unpack a jar with"
    return 1
  fi
}

# The user that PostgreSQL's server runs as: it refuses root.
unprivileged_user() {
  if ! is_root; then id -un; elif id -u postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

# `as_unprivileged CMD...` replaces this process: use it as the last command, or in a subshell.
as_unprivileged() {
  local user
  is_root || exec "$@"
  user=$(unprivileged_user)
  if have setpriv; then
    exec setpriv --reuid="$(id -u "$user")" --regid="$(id -g "$user")" --clear-groups -- "$@"
  elif have runuser; then
    exec runuser -u "$user" -- "$@"
  fi
  die "neither setpriv nor runuser is there to run PostgreSQL as $user (both are in util-linux)"
}

# Counting, for the scripts that check: `check NAME CMD...` shows a command's output only when it fails.
passed=0 failed=0 skipped=0

ok() {
  passed=$((passed + ${2:-1}))
  printf '%s\n' "${green}ok${plain}      $1" >&2
}
bad() {
  failed=$((failed + ${2:-1}))
  printf '%s\n' "${red}FAILED${plain}  $1" >&2
}
skip() {
  skipped=$((skipped + 1))
  printf '%s\n' "skipped $1" >&2
}
check() {
  local name=$1 log rc=0
  shift
  mkdir -p "$target/logs"
  log=$target/logs/${name//[^A-Za-z0-9.-]/_}
  "$@" >"$log" 2>&1 </dev/null || rc=$?
  if [ "$rc" = 0 ]; then ok "$name"; else
    tail -n "${KCOPY_LOG_LINES:-200}" "$log" >&2
    bad "$name (exit $rc, all of it in $log)"
  fi
}
# `cargo_tests NAME [CARGO ARG...]`: one line for each test program, failures in full, all of it counted. A test that
# cannot run where it stands says so in the file KCOPY_SKIPPED, and is taken off the passed ones. The binary that they
# run is KCOPY_BIN, or one that is built first: what lies about may be an old one.
cargo_tests() {
  local name=$1 log skips rc=0 p f n
  shift
  mkdir -p "$target/logs"
  if [ -z "${KCOPY_BIN:-}" ] && ! cargo build --locked --package kcopy >&2 </dev/null; then
    bad "$name: kcopy does not build"
    return
  fi
  log=$target/logs/$name skips=$target/logs/$name.skipped
  : >"$skips"
  KCOPY_SKIPPED=$skips cargo test --locked --workspace --no-fail-fast "$@" 2>&1 </dev/null | tee "$log" \
    | awk '/^ *Running|^ *Doc-tests|^test result|FAILED|panicked|^failures:$/ { print; fflush(); next } /^---- /,/^$/ { print; fflush() }' >&2 \
    || rc=$?
  read -r p f < <(awk '/^test result:/ { p += $4; f += $6 } END { print p + 0, f + 0 }' "$log")
  n=$(sort -u "$skips" | wc -l)
  sort -u "$skips" | sed 's/^/skipped /' >&2
  passed=$((passed + p - n)) failed=$((failed + f)) skipped=$((skipped + n))
  if [ "$rc" != 0 ] && [ "$f" = 0 ]; then
    tail -n 60 "$log" >&2
    bad "$name: cargo test failed before it could count (exit $rc, all of it in $log)"
  fi
}
# `part_totals CMD...` adds up another script's last line. One that ended before it had such a line is a failure.
part_totals() {
  local p f s line last=''
  while IFS= read -r line; do last=$line; done < <("$@")
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
    p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]} s=${BASH_REMATCH[3]}
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  else
    bad "$1 ended without a line of totals: '$last'"
  fi
}
totals() {
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" = 0 ]
}

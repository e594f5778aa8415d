# shellcheck shell=bash disable=SC2034 # some are read by the kinds
# common.sh - arguments, messages, temporary files, apt and the cache
#
# Sets for the kinds: KIND FROM OUT AGENT KERNEL_PACKAGE PACKAGES SIZE SUITE (from
# the arguments), WORK (a directory of ours that goes when we go), LOG (in it)
# and SOURCES (apt source lines, one each).

say()   { printf 'mkimage: %s\n' "$*"; }
die()   { STEP=; printf 'mkimage: %s\n' "$*" >&2; exit 1; }
usage_error()
{
	STEP=
	printf 'mkimage: %s\n' "$*" >&2
	exit 2
}

# ---- arguments

parse_args()
{
	KIND=$1
	shift
	case $KIND in
	tiny|root|debian) ;;
	*) usage_error "$KIND: no such kind of image; say tiny, root or debian" ;;
	esac

	FROM='' OUT='' AGENT='' PACKAGES='' MIRROR='' PROXY='' NO_CACHE='' CACHE='' SUITE=''
	KERNEL_PACKAGE=linux-image-cloud-amd64
	SIZE=3G
	WORKDIR=${TMPDIR:-/var/tmp}

	while [[ $# -gt 0 ]]; do
		case $KIND:$1 in
		*:--workdir)		set_value WORKDIR "$@" ;;
		root:-*) usage_error "$1: no such option for root; see mkimage --help" ;;
		*:--no-cache)		NO_CACHE=y; shift; continue ;;
		*:--packages)		set_value PACKAGES "$@" ;;
		*:--suite)		set_value SUITE "$@" ;;
		*:--mirror)		set_value MIRROR "$@" ;;
		*:--proxy)		set_value PROXY "$@" ;;
		*:--cache)		set_value CACHE "$@" ;;
		tiny:--agent)		set_value AGENT "$@" ;;
		tiny:--kernel-package)	set_value KERNEL_PACKAGE "$@" ;;
		debian:--size)		set_value SIZE "$@" ;;
		*:-*) usage_error "$1: no such option for $KIND; see mkimage --help" ;;
		*)
			[[ $KIND != root || -z $OUT || -n $FROM ]] || FROM=$OUT OUT=''
			[[ -z $OUT ]] || usage_error "$1: one output is enough, and $OUT is it"
			[[ -n $1 ]] || usage_error "the output's name is empty; give a path"
			OUT=$1
			shift
			continue ;;
		esac
		shift 2
	done
	check_args
}

# set_value VARIABLE OPTION [VALUE...]
set_value()
{
	[[ $# -ge 3 && -n $3 ]] || usage_error "$2: needs a value; see mkimage --help"
	printf -v "$1" %s "$3"
}

check_args()
{
	local url pkg

	[[ -n $OUT ]] || usage_error "$KIND: where to? give the output's path"
	OUT_DIR=$(dirname -- "$OUT")
	[[ -d $OUT_DIR ]] || usage_error "$OUT: no directory $OUT_DIR; make it first"
	[[ -w $OUT_DIR ]] || usage_error "$OUT: cannot write to $OUT_DIR; choose another"
	[[ -d $WORKDIR && -w $WORKDIR ]] ||
		usage_error "--workdir=$WORKDIR: not a directory that we can write to"
	for url in "$MIRROR" "$PROXY"; do
		[[ $url =~ ^($|https?://[^[:space:]]+$|file:/[^[:space:]]*$) ]] ||
			usage_error "$url: not a URL; give one that begins with http:// or https://"
	done
	[[ $SUITE =~ ^([a-z][a-z0-9-]*)?$ ]] ||
		usage_error "--suite=$SUITE: not a release's name; give one as bookworm"
	read -ra PACKAGES <<<"${PACKAGES//,/ }"
	for pkg in "${PACKAGES[@]}" "$KERNEL_PACKAGE"; do
		[[ $pkg =~ ^[a-z0-9][a-z0-9.+-]+$ ]] ||
			usage_error "$pkg: not a package's name; give names separated by commas"
	done
}

# need PROGRAM=PACKAGE...: refuse where one is missing, and name its package
need()
{
	local pair missing=

	for pair; do
		PATH=$PATH:/usr/sbin:/sbin type -P "${pair%=*}" >/dev/null ||
			missing+=" ${pair#*=}"
	done
	[[ -z $missing ]] || die "programs are missing: apt-get install$missing"
}

# ---- temporary files and the steps that fill them

work_open()
{
	PATH=$PATH:/usr/sbin:/sbin
	export LC_ALL=C
	# absolute: apt reads a relative name from /
	WORK=$(mktemp -d -- "$(readlink -f -- "$WORKDIR")/mkimage.XXXXXX")
	LOG=$WORK/log
	STEP='' TEMPS=("$WORK")
	exec {STDERR}>&2 # step() has a redirection in force when we end in it
	trap work_close EXIT
	trap 'STEP= && exit 129' HUP
	trap 'STEP= && exit 130' INT
	trap 'STEP= && exit 143' TERM
}

work_close()
{
	local status=$?

	trap '' HUP INT TERM
	if [[ $status -ne 0 && -n $STEP ]]; then
		printf 'mkimage: failed: %s; the end of its log:\n' "$STEP"
		tail -n 20 -- "$LOG" | sed 's/^/    /'
		status=1
	fi >&"$STDERR"
	rm -rf -- "${TEMPS[@]}"
	exit "$status"
}

# step TEXT COMMAND...: errexit ends us when it fails, work_close() says where
step()
{
	STEP=$1
	say "$1"
	shift
	"$@" >"$LOG" 2>&1
	STEP=
}

# beside PATH KIND: a temporary file (KIND f) or directory (d) that a rename
# takes to PATH; its name goes to $TEMP
beside()
{
	local opts=()

	[[ $2 = f ]] || opts=(-d)
	TEMP=$(mktemp "${opts[@]}" -- "$(dirname -- "$1")/.$(basename -- "$1").XXXXXX")
	TEMPS+=("$TEMP")
	chmod "$([[ $2 = f ]] && echo 666 || echo 777)" "$TEMP"
	chmod "=rwX" "$TEMP" # less the umask
}

# ---- apt: which packages there are, in which version, and their content

# Source lines come from --mirror, or from what this machine's own apt uses.
# Its lists serve as they are when they hold the suite, so that a look at the
# versions, for the cache's key, needs no network.
sources_open()
{
	local host_suite

	STEP="looking at apt's sources"
	host_suite=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
	SUITE=${SUITE:-$host_suite}
	# Archives of our own, and none in them: apt leaves out of its answer
	# what it has.  The cache files make the second question cheaper.
	APT=(-q -o Debug::NoLocking=1 -o Dir::State::status="$WORK/apt/status"
	     -o Dir::Cache="$WORK/apt" -o Dir::Cache::archives=archives
	     -o Dir::Cache::pkgcache=pkgcache.bin
	     -o Dir::Cache::srcpkgcache=srcpkgcache.bin)
	[[ -z $PROXY ]] || APT+=(-o "Acquire::http::Proxy=$PROXY"
				 -o "Acquire::https::Proxy=$PROXY")
	mkdir -p "$WORK"/apt/{archives,lists}/partial
	: >"$WORK/apt/status"

	if [[ -n $MIRROR ]]; then
		SOURCES=$(printf 'deb %s%s %s main\n' "$(signed_by)" "$MIRROR" "$SUITE")
	else
		SOURCES=$(host_sources)
		[[ -n $SOURCES ]] ||
			die "this machine's apt knows no Debian mirror; give --mirror URL"
	fi
	if [[ -n $MIRROR || $SUITE != "$host_suite" ]]; then
		lists_open
	fi
	STEP=
}

signed_by()
{
	local ring=/usr/share/keyrings/debian-archive-keyring.gpg

	[[ ! -r $ring ]] || echo "[signed-by=$ring] "
}

# The machine's own Debian sources with the suite's name put in.
host_sources()
{
	# shellcheck disable=SC2016  # apt's variables, not ours
	apt-get "${APT[@]}" indextargets --format \
		'$(ORIGIN)|$(CODENAME)|$(REPO_URI)' \
		'Created-By: Packages' |
	awk -F'|' -v suite="$SUITE" -v ring="$(signed_by)" '
	$1 == "Debian" && $2 ~ /^[a-z]+(-updates|-security)?$/ {
		pocket = $2
		sub(/^[a-z]+/, suite, pocket)
		line = "deb " ring $3 " " pocket " main"
		if (!seen[line]++)
			print line
	}'
}

# apt's lists of our own, for another mirror or another release
lists_open()
{
	printf '%s\n' "$SOURCES" >"$WORK/apt/sources.list"
	APT+=(-o Dir::Etc::sourcelist="$WORK/apt/sources.list"
	      -o Dir::Etc::sourceparts=/dev/null
	      -o Dir::Etc::preferencesparts=/dev/null
	      -o Dir::State::lists="$WORK/apt/lists"
	      -o APT::Architecture=amd64 -o APT::Sandbox::User=)
	step "reading the mirror's lists" \
		apt-get "${APT[@]}" update --error-on=any
}

# resolve PACKAGE...: names, versions and hashes of these and of all that they
# need on an empty system, as apt's lines: 'URI' FILE SIZE HASH
resolve()
{
	apt-get "${APT[@]}" --print-uris -y --no-install-recommends \
		install "$@" 2>>"$LOG" | grep "^'"
}

# fetch DIR: download, into DIR, the files named by resolve()'s lines on stdin
fetch()
{
	local specs

	mkdir -p "$1"
	# 'URI' name_version_arch.deb ... -> name=version (':' is %3a there)
	specs=$(awk '{ split($2, f, "_"); gsub("%3a", ":", f[2]); print f[1] "=" f[2] }')
	# shellcheck disable=SC2086  # one word a package is meant
	(cd "$1" && apt-get "${APT[@]}" -o APT::Sandbox::User= download $specs)
}

# unpack DEB ROOT: the files of a package that a machine runs with
unpack()
{
	dpkg-deb --fsys-tarfile "$1" |
		tar -x -C "$2" --no-same-owner --keep-directory-symlink \
		    --exclude='./usr/share/doc' --exclude='./usr/share/man' \
		    --exclude='./usr/share/info' --exclude='./usr/share/locale' \
		    --exclude='./usr/share/lintian' --exclude='./usr/share/bug'
}

# ---- the cache: CACHE/KIND-KEY is a directory, complete or not there at all

# cache_key: of stdin and of our own files
cache_key()
{
	{
		cat
		(cd "$(dirname "$MKIMAGE")" &&
			find "${MKIMAGE##*/}" mkimage.d/common.sh \
				"mkimage.d/$KIND.sh" "mkimage.d/$KIND" -type f -print0 |
			sort -z | xargs -0 sha256sum)
	} | sha256sum | cut -c 1-40
}

# cache_get KEY FUNCTION: call FUNCTION DIR to fill a directory unless the
# cache has it.  $ENTRY names it then; it stays while we run.
cache_get()
{
	local key=$KIND-$1

	if [[ -n $NO_CACHE ]]; then
		ENTRY=$WORK/entry
		mkdir "$ENTRY"
		"$2" "$ENTRY"
		return
	fi
	cache_open
	# held to our end: by all who use it, or by the one who makes it, whom
	# others wait for
	exec {CACHE_LOCK}>"$CACHE/lock/$key"
	ENTRY=$CACHE/$key
	cache_lock -s
	if cache_has; then
		return
	fi
	cache_lock -x
	if ! cache_has; then # nor has another made it while we waited
		beside "$ENTRY" d
		"$2" "$TEMP"
		mv -T -- "$TEMP" "$ENTRY"
	fi
	cache_lock -s
	cache_prune
}

cache_lock()
{
	flock -n "$1" "$CACHE_LOCK" || {
		say "waiting for another mkimage that makes the same"
		flock "$1" "$CACHE_LOCK"
	}
}

cache_has()
{
	[[ -d $ENTRY ]] || return 1
	say "from the cache: $ENTRY"
	touch "$ENTRY"
}

cache_open()
{
	if [[ -z $CACHE ]]; then
		CACHE=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/vmstep
		[[ $EUID -ne 0 ]] || CACHE=/var/cache/vmstep
		CACHE=${VMSTEP_CACHE:-$CACHE}
	fi
	mkdir -p -- "$CACHE/lock" 2>/dev/null || true
	[[ -w $CACHE && -w $CACHE/lock ]] ||
		usage_error "--cache=$CACHE: cannot write there; name another or say --no-cache"
}

# Of each kind the four newest stay; one in use is locked and stays too.
cache_prune()
{
	local dir

	while read -r dir; do
		flock -n "$CACHE/lock/${dir##*/}" rm -rf -- "$dir" || true
	done < <(find "$CACHE" -maxdepth 1 -type d -name "$KIND-*" \
			-printf '%T@ %p\n' | sort -rn | tail -n +5 | cut -d' ' -f2-)
}

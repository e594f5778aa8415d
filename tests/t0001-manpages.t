#!/bin/bash
# The manual pages, the sample configuration, README and HACKING say what the
# code does: options, variables, arguments, defaults, keys, paths, commands.
# Needs no root; print-tables (make check builds it) has the code's side.

from=$PWD
. "$(dirname "$0")/lib.sh"

need groff man perl

# ---- the code's side ----

find_tables()
{
	local dir
	for dir in ${VMSTEP_BUILD:+"$VMSTEP_BUILD"} "$top/build/main" "$top/build" \
		"$from" "$top"; do
		if [[ -x $dir/tests/print-tables ]]; then
			echo "$dir/tests/print-tables"
			return
		fi
	done
}

tables=$(find_tables)
[[ -n $tables ]] ||
	skip_all "print-tables is not built: make check, or set VMSTEP_BUILD"
"$tables" options | sort >t.options
"$tables" keys | sort >t.keys
ok "the code has options and keys" test -s t.options -a -s t.keys

# ---- the pages, a paragraph a line ----

pages=("$top"/doc/*.[1-8])
render() { groff -Tascii -man -rLL=4000n -P-cbou "$1"; }
# section NAME: the lines of section NAME of a rendered page
section() { awk -v name="$1" '/^[^ ]/ { on = $0 == name } on && !/^[^ ]/'; }
same() { diff -u "$1" "$2"; }

render "$top/doc/vmstep-options.7" >options.txt
render "$top/doc/vmstep.conf.5" >conf.txt

# An entry begins with the option at the indentation of tags, and ends with
# the line that begins with its variable.
awk '
	/^       --vm-[^ ]*$/ { entry = $1 }
	/^              VMSTEP_[A-Z_]+(;|$)/ { sub(/^ */, ""); print entry "\t" $0 }' options.txt |
	sort >options.page
ok "vmstep-options(7): each option, its argument, variable, default, and kinds of values" \
	same t.options options.page
grep -oE '^ {7}--vm-[^ ]*$' options.txt | sort | uniq -d >twice
is "... no option has two entries" "$(<twice)" ""

sed 's/\t$/\tempty/' t.keys >keys.want
awk '/^       [a-z_]+ = / { key = $1 }
	/^              Default: / { sub(/^ *Default: /, ""); print key "\t" $0 }' conf.txt |
	sort >keys.page
ok "vmstep.conf(5): each key and its default" same keys.want keys.page
section EXAMPLES <conf.txt | sed -n 's/^ *\([a-z_]* = .*\)/\1/p' >example.conf
ok "... its example has lines" test -s example.conf
ok "... and they are understood" "$tables" load example.conf

sample=$top/etc/vmstep.conf
sed -n 's/^#\([a-z_]*\) = *\(.*\)/\1\t\2/p; s/^#\([a-z_]*\) =$/\1\t/p' "$sample" |
	grep -v ^default_ | sort -u >keys.sample
ok "etc/vmstep.conf: each key and its default, commented out" same t.keys keys.sample
is "... and nothing is set" "$(grep -vE '^(#|$)' "$sample")" ""
ok "... it is understood" "$tables" load "$sample"
sed 's/^#\([a-z_]* =\)/\1/' "$sample" >uncommented.conf
ok "... also with every key in force" "$tables" load uncommented.conf

# ---- each page by itself ----

version=$(sed -n 's/^AC_INIT(\[vmstep\], \[\([^]]*\)\].*/\1/p' "$top/configure.ac")
lint()
{
	local said
	said=$(groff -ww -Tutf8 -man -z "$1" 2>&1
		LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l "$1" 2>&1 >/dev/null
		! command -v mandoc >/dev/null || mandoc -Tlint "$1" 2>&1)
	[[ -z $said ]] || { echo "$said"; return 1; }
}

for page in "${pages[@]}"; do
	name=${page##*/}
	ok "$name: no warning" lint "$page"
	nok "... no control characters" grep -n '[[:cntrl:]]' <(tr -d '\t' <"$page")
	like "$name: of this version" "$(grep '^\.TH' "$page")" "\"vmstep $version\""
	is "$name: no trailing blanks" "$(grep -nE '[ 	]$' "$page")" ""
done

# ---- what pages and texts name is there ----

texts=("$top"/*.md "$top/NEWS" "$top"/doc/*.md)
for page in "${pages[@]}"; do
	render "$page" >"${page##*/}.txt"
	texts+=("$PWD/${page##*/}.txt")
done

# --vm-save=... is an option whatever it is set to; --vm-NAME is none
cut -f1 t.options | sed 's/\[*=.*//' | sort -u >known
for text in "${texts[@]}"; do
	grep -ohE -e '--vm-[a-z][a-z-]*' "$text" | sort -u | comm -23 - known
done >unknown
is "no text names an option that does not exist" "$(sort -u unknown | xargs)" ""

for text in "${texts[@]}"; do
	grep -ohE '(vmstep[a-z.-]*|minicluster|mkimage)\([1-8]\)' "$text"
done | sort -u | while read -r ref; do
	page=${ref%(*}.${ref: -2:1}
	[[ -e $top/doc/$page ]] || echo "$ref"
done >unknown
is "no text refers to a page that does not exist" "$(xargs <unknown)" ""

# Words that look like a path into the tree, but not what a build makes there
# and not what users give a name of their own.
dirs=$(cd "$top" && printf '%s|' */)
dirs=${dirs//\//}
for text in "${texts[@]}"; do
	grep -ohE "(^|[ \`(\"])(\./|\\\$PWD/)?(${dirs%|})/[A-Za-z0-9_./*-]*" "$text"
done | sed -E 's/^[ `("]//; s/[.,]+$//; s,^(\./|\$PWD/),,' | grep -v '^build/' |
	sort -u >paths
ok "paths are found in the texts" grep -qx contrib/quickstart paths
while read -r path; do
	compgen -G "$top/$path" >/dev/null || echo "$path"
done <paths >missing
is "every path in them is there" "$(xargs <missing)" ""
for file in autogen.sh LICENSE NEWS HACKING.md; do
	ok "$file, which they name, is there" test -e "$top/$file"
done

# ---- the guides ----

# Functions of doc/ARCHITECTURE.md, as in `vm_end()`: defined where it looks.
grep -ohE '`[a-z_]+\(\)`' "$top/doc/ARCHITECTURE.md" | tr -d '`()' | sort -u >functions
ok "doc/ARCHITECTURE.md names functions" test -s functions
while read -r function; do
	grep -qE "^[a-z].*[ *]$function\(" "$top"/{spank,stepd-helper,pmix-net,guest-agent,cli,lib}/*.c ||
		echo "$function"
done <functions >unknown
is "... and each is there" "$(xargs <unknown)" ""

# Tables have keys of vmstep.conf in backticks: all of a column "key", and else
# what has a _ in it, as in `net_link` or `net_link = tcp`.
guides=("$top/doc/ADMIN.md" "$top/doc/ARCHITECTURE.md")
{
	awk -F'|' '!/^\|/ { on = 0 } $2 == " key " { on = 1; next } on { print $2 }' "${guides[@]}" |
		grep -oE '`[^`]+`' | tr -d '`'
	grep -h '^|' "${guides[@]}" | grep -oE '`[a-z]+(_[a-z]+)+( = [^`]*)?`' |
		sed 's/ = .*//' | tr -d '`'
} | sort -u >keys.guides
{ cut -f1 t.keys; sed 's/^--vm-/default_/; s/\[*=.*//; s/\t.*//; y/-/_/' t.options; } | sort -u >keys.all
is "no guide names a key that does not exist" "$(comm -23 keys.guides keys.all | xargs)" ""
is "doc/ADMIN.md: each allow_* and max_* is in the table of policy" \
	"$(grep -oE '^(allow|max)_[a-z_]+' t.keys | sort | comm -23 - keys.guides | xargs)" ""
awk '/^```conf$/ { n++; on = 1; next } /^```/ { on = 0 } on { print >"guide" n ".conf" }' "$top/doc/ADMIN.md"
for conf in guide1.conf guide2.conf; do
	ok "... its example $conf is understood" "$tables" load "$conf"
done

# Messages are the first column under "Troubleshooting", in backticks, with ...
# for what differs. Each is a string of the sources, or a part of one, with %-words
# or macros where the dots are.
sed '1,/^| message |/d' "$top/doc/ADMIN.md" | grep '^| ' >rows
sed -n 's/^| `\([^`]*\)` |.*/\1/p' rows >messages
is "doc/ADMIN.md: each row of the table of messages has one" "$(wc -l <messages)" "$(wc -l <rows)"
perl -0777 -e '
	use strict;
	open my $list, "<", shift or die;
	my @messages = split /\n/, <$list>;
	my @strings;
	@ARGV = grep { !m{/test_[^/]*$} } @ARGV;
	while (my $source = <>) {
		while ($source =~ m{/\*.*?\*/|//[^\n]*|\x27(?:\\.|[^\x27\\])+\x27|
			((?:"(?:\\.|[^"\\])*"\s*(?:[A-Za-z_]\w*\s*(?="))?)+)}gsx) {
			my $s = $1 // next;
			$s =~ s/"\s*(?:([A-Za-z_]\w*)\s*)?"/$1 ? "\001" : ""/ge;
			$s =~ s/%[-+ #0]*(?:\d+|\*)?(?:\.(?:\d+|\*))?(?:hh?|ll?|z|j)?[diouxXcspm]/\001/g;
			$s =~ s/%%/%/g;
			push @strings, $s =~ s/\\(["\\])/$1/gr;
		}
	}
	for my $m (@messages) {
		my $fixed = join "", split /\Q...\E/, $m;
		my $like = join "\001+", map { quotemeta } split /\Q...\E/, $m, -1;
		$like =~ s/^\001\+|\001\+$//g;
		print "$m\n" if length $fixed < 15 || !grep { /$like/s } @strings;
	}' messages "$top"/{spank,stepd-helper,pmix-net,guest-agent,cli,lib}/*.[ch] >unknown
is "... and each is a message of the sources" "$(<unknown)" ""

# Command lines of README and HACKING begin with "$ " or "# ": the command is
# a file of the tree, made by the build, or one that these may count on.
others=' apt-get cd echo make man mkdir prove salloc sbatch srun vmstep '
for text in "$top/README.md" "$top/HACKING.md"; do
	sed -n '/^```/,/^```/s/^[$#] //p' "$text"
done | awk '{ print $1 }' | sort -u | while read -r cmd; do
	case $cmd in
	*/configure) cmd=$top/configure.ac ;;
	*/*) [[ -x $top/$cmd ]] || echo "$cmd" ;;
	*) [[ $others == *" $cmd "* ]] || echo "$cmd" ;;
	esac
done >unknown
is "every command of README and HACKING is there" "$(xargs <unknown)" ""
grep -ohE -e '--(enable|with)-[a-z-]+' "$top"/*.md | sort -u |
	while read -r option; do
		grep -qE "AC_ARG_(ENABLE|WITH)\(\[${option#--*-}\]" \
			"$top/configure.ac" || echo "$option"
	done >unknown
is "configure has every option that they name" "$(xargs <unknown)" ""

# ---- programs ----

# tags PAGE REGEX: the tags of a page's entries
tags() { grep -oE "^ {7}$2" "$1.txt" | tr -d ' ' | sort -u; }

sed -n 's/^\t{ "\(--[a-z-]*\)".*/\1/p' "$top/pmix-net/options.c" | sort >net.code
tags vmstep-net.8 '--[a-z-]+' >net.page
ok "vmstep-net(8): each option of pmix-net/options.c" same net.code net.page
sed -n 's/^\t\t{ "\([a-z]*\)", \(no\|required\)_argument.*/--\1/p' \
	"$top/guest-agent/vmstep-agent.c" | sort >agent.code
tags vmstep-agent.8 '--[a-z-]+' >agent.page
ok "vmstep-agent(8): each option of guest-agent/vmstep-agent.c" same agent.code agent.page
sed -n 's/.*strcmp(key, "\([a-z_]*\)").*/\1/p' "$top/stepd-helper/image.c" |
	sort >bundle.code
tags vmstep-bundle.5 '[a-z_]+ = ' | tr -d = >bundle.page
ok "vmstep-bundle(5): each key of stepd-helper/image.c" same bundle.code bundle.page
# vmstep --words is its table
vmstep=${tables%/tests/print-tables}/cli/vmstep
for command in '' $("$vmstep" --words | grep -v ^-); do
	"$vmstep" --words ${command:+"$command"}
done | sed -n 's/^\(-[a-z-]*\)=*$/\1/p' |
	sort -u >vmstep.code
tags vmstep.1 '--?[a-z-]+' >vmstep.page
ok "vmstep(1): each option of cli/command.c" same vmstep.code vmstep.page
"$vmstep" --words | grep -v ^- | sort >commands.code
section COMMANDS <vmstep.1.txt | sed -n 's/^ \{3\}\([a-z]*\)$/\1/p' | sort >commands.page
ok "... each command" same commands.code commands.page
"$tables" ops | sort >ops.code
section OPS <vmstep-api.7.txt |
	sed -nE 's/^ {3}([a-z]+(\.[a-z]+)*)( \{.*\})$/\1\3/p' | sort >ops.page
ok "vmstep-api(7): each op of the catalogue, and its parameters" same ops.code ops.page
for program in pmix-net/vmstep-net stepd-helper/vmstep-helper; do
	"${tables%/tests/*}/$program" --help >help
	ok "${program##*/} --help" grep -q -e --version help
done
for tool in minicluster mkimage; do
	{ "$top/contrib/$tool" --help; echo "--help"; } |
		grep -oE -e '(^|[ [])--[a-z][a-z-]*' | tr -d ' [' | sort -u |
		grep -v time >"$tool.code"
	tags "$tool.1" '--[a-z-]+' >"$tool.page"
	ok "$tool(1): each option of $tool --help" same "$tool.code" "$tool.page"
done

{ sed -nE 's/^ *(p\.add_argument\()?"(--?[a-z-]+)",.*/\2/p' \
	"$top/contrib/xmlrpc/vmstep-xmlrpc"; echo "--help"; } | sort >xmlrpc.code
tags vmstep-xmlrpc.1 '--?[a-z-]+' >xmlrpc.page
ok "vmstep-xmlrpc(1): each option of contrib/xmlrpc/vmstep-xmlrpc" same xmlrpc.code xmlrpc.page

# ---- the description of a task ----

grep -oE '(desc_add\(&?w|describe_env\(sp, w), "[a-z_.]+"' "$top/spank/stepd.c" |
	sed 's/.*"\(.*\)"/\1/' | sort -u >keys.written
sed -n 's/^| \(`[^|]*`\) |.*/\1/p' "$top/doc/description.md" |
	grep -oE '`[a-z_.]+`' | tr -d '`' | sort -u >keys.described
ok "doc/description.md: the keys that the plugin writes" same keys.written keys.described

# ---- doc/SECURITY.md: each way in has tests, which are there ----

awk -F' [|] ' '/^[|] way in / { on = 1; next } !/^[|]/ { on = 0 }
	on && !/^[|]-/ { print $NF }' "$top/doc/SECURITY.md" >rows
ok "doc/SECURITY.md has ways in" test "$(wc -l <rows)" -gt 100
while read -r cell; do
	file='' n=0
	while read -r word; do
		case $word in
		\`*) file=${word//\`/} ;;
		*) n=$((n + 1))
			grep -qF -- "${word//\"/}" "$top/${file:-none}" 2>/dev/null ||
				echo "$file: $word" ;;
		esac
	done < <(grep -oE '`[^`]*`|"[^"]*"' <<<"$cell")
	((n)) || echo "no test: $cell"
done <rows >missing
is "... each has a test, and every test named is there" "$(<missing)" ""

done_testing

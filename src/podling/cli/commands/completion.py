"""completion, and the command behind the scripts that it prints."""

from __future__ import annotations

from podling.cli.command import Command
from podling.cli.flags import Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podling.cli.app import App
    from podling.cli.flags import Args

_BASH = r"""# bash completion for podling
_podling() {
    local cur words cword line out
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n =: cur words cword
    else
        cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    fi
    out=$("${words[0]}" __complete "${words[@]:1:cword}" 2>/dev/null) || return
    COMPREPLY=()
    if [[ $out == :files ]]; then
        compopt -o default
        return
    fi
    while IFS=$'\t' read -r line _; do
        [[ -n $line ]] && COMPREPLY+=("$line")
    done <<<"$out"
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *: ]] && compopt -o nospace
    declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
}
complete -F _podling podling
"""
_ZSH = r"""#compdef podling
# zsh completion for podling
_podling() {
    local out line
    local -a found
    out=$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null) || return
    if [[ $out == :files ]]; then
        _files
        return
    fi
    for line in "${(@f)out}"; do
        [[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    _describe 'podling' found
}
if [[ $funcstack[1] == _podling ]]; then _podling "$@"; else compdef _podling podling; fi
"""
_FISH = r"""# fish completion for podling
function __podling_complete
    set -l words (commandline -opc)
    set -l out ($words[1] __complete $words[2..-1] (commandline -ct) 2>/dev/null)
    if test "$out" = ":files"
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $out
    end
end
complete -c podling -f -a '(__podling_complete)'
"""
_POWERSHELL = r"""# PowerShell completion for podling
Register-ArgumentCompleter -Native -CommandName podling -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() })
    if ($wordToComplete -eq '') { $words += '' }
    podling __complete @words 2>$null | Where-Object { $_ -ne ':files' } | ForEach-Object {
        $name, $text = $_ -split "`t", 2
        [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $(if ($text) { $text } else { $name }))
    }
}
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH, "powershell": _POWERSHELL}


def _completion(app: App, args: Args) -> int:
    shell = args.rest[0]
    if shell not in _SCRIPTS:
        raise UsageError(f"no completion for the shell {shell!r}", hint=f"there is one for {', '.join(_SCRIPTS)}")
    script = _SCRIPTS[shell]
    if args.no_desc:
        script = script.replace(" __complete ", " __completeNoDesc ")
    if args.file:
        try:
            with open(args.file, "w") as file:
                file.write(script)
        except OSError as error:
            raise UsageError(f"--file {args.file}: {error.strerror}") from None
        return 0
    app.out(script.rstrip("\n"))
    return 0


def answer(words: list[str], *, described: bool) -> int:
    """Print what may come next, for the scripts."""
    from podling.cli.app import App, write
    from podling.cli.completion import complete

    found = complete(words, lambda options: App(options, "", []).engine)
    if isinstance(found, str):
        write(1, found + "\n")
    elif found:
        write(1, "".join(f"{name}\t{text}\n" if described and text else f"{name}\n" for name, text in found))
    return 0


COMPLETION = Command(
    _completion,
    "[options] SHELL",
    "Prints the script that completes podling's command lines in bash, zsh, fish or powershell.",
    Flag("file", "f", "string", "Write the script to this file", value="path"),
    Flag("no-desc", "", "bool", "Complete without descriptions"),
    least=1,
    most=1,
    examples=(
        "completion bash -f /etc/bash_completion.d/podling",
        'completion zsh -f "${fpath[1]}/_podling"',
        "completion fish -f ~/.config/fish/completions/podling.fish",
    ),
)

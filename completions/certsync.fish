# Completion of certsync and certsync-agent in fish. What may come next is told by the program itself, from the table of its help.

function __certsync_candidates
    set -l words (commandline -opc) (commandline -ct)
    set -l lines ($words[1] complete -- $words[2..] 2>/dev/null </dev/null)
    switch "$lines[1]"
        case :files
            __fish_complete_path (commandline -ct)
        case :directories
            __fish_complete_directories (commandline -ct)
        case '*'
            string join \n -- $lines
    end
end

complete -c certsync -f -a '(__certsync_candidates)'
complete -c certsync-agent -f -a '(__certsync_candidates)'

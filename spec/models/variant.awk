# Writes a model as its variant has it. NAME is the variant, or several joined with +, or - for the model as it stands.
# A line "//~ names: text" stands, in the variants it names, in the place of the line before it; several such lines one after the other all do.

BEGIN { wanted = split(NAME, parts, "+") }

/^[ \t]*\/\/~ / {
    line = $0
    sub(/^[ \t]*\/\/~ /, "", line)
    names = " " substr(line, 1, index(line, ":") - 1) " "
    text = substr(line, index(line, ":") + 2)
    for (i = 1; i <= wanted; i++)
        if (index(names, " " parts[i] " ")) {
            seen[parts[i]] = 1
            held = 0
            if (text != "") print text
            break
        }
    next
}

{ if (held) print base; base = $0; held = 1 }

END {
    if (held) print base
    for (i = 1; i <= wanted; i++)
        if (parts[i] != "-" && !(parts[i] in seen)) {
            print "no line belongs to the variant " parts[i] > "/dev/stderr"
            exit 1
        }
}
